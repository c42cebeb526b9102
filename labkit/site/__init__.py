"""The lessons as a static web site: run once on a real kernel, then read without one."""
