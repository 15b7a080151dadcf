"""What all pages have in common: one frame, one palette, one way to fill a template."""
