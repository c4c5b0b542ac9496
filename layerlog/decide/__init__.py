"""Pure decisions: the rows and a request in, events or a typed error out.

Nothing here touches a clock, path, lock or random source (DESIGN §2, law 3). Each function may be
run twice on different rows: once to plan, and again under the writer lock.
"""
