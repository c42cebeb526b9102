"""What the two ends of a User Mode Linux's serial line agree on.

The line carries what would go through the pipes of a plain process, byte for byte, and four
control characters more. JSON escapes control characters (RFC 8259, section 7), so none of
them can be part of a message.

The line loses its wakeup when a few kilobytes of input wait unread in it, and then stands
still for good: so the host's end holds back what is not acknowledged.
"""

TIME = b"\x07"
"""From inside, before `READY`: what is the machine's time? The answer is nanoseconds since the
epoch, in decimal, and a line feed."""
READY = b"\x05"
"""From inside: the line is raw (`termios(3)`), input may come."""
ACK = b"\x06"
"""From inside: `STEP` more bytes of input were read."""
END = b"\x04"
"""From inside, the last: the command's exit status follows, in decimal, and a line feed."""
STEP = 256
WINDOW = 1024
"""At most so many bytes of input are on their way, not acknowledged."""
