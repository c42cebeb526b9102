"""Pure values: what a lab is, what is asked of it, what happens in it. No I/O, no Linux."""
