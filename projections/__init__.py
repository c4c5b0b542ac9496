"""Pure folds from events to rows: layer tree, images, containers, names, digests, usage."""
