"""What lies between a program's write and the medium: gathered, judged and told in words.

facts.py reads /proc and /sys below a root that may be a recorded one; mounts.py finds the mount;
filesystems.py, servers.py, blocks.py and drives.py know the layers, macos.py those of macOS;
inspect.py walks down them with what walk.py carries, and report.py is the answer; measure.py times
the ways of writing; text.py prints.  Nothing of this is imported until somebody asks.
"""
