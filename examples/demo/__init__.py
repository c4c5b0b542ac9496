"""`make demo`: what layerlog is for, shown on a real image in a minute."""
