"""What strangers may send, and what must hold whatever they do.

The suite tries each target on inputs that hypothesis makes; ``python -m tests.fuzz`` goes on with a fuzzer that is
guided by coverage.
"""
