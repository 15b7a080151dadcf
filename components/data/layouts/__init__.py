"""How folders of labelled images may be arranged; each layout is one small module with `recognised` and `read`."""
