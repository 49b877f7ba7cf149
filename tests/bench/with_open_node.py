"""with_open_node.py - runs a program that has a device node open, without the device: with_open_node.py NODE PROGRAM...

The descriptor (O_PATH) cannot be used. But /proc shows it as that of a program that has opened the device. So a test
can play a device that this machine lacks, such as /dev/vhost-net.
"""
import os
import sys

os.set_inheritable(os.open(sys.argv[1], os.O_PATH), True)
os.execvp(sys.argv[2], sys.argv[2:])
