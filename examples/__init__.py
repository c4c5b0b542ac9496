"""Programs that show layerlog at work."""
