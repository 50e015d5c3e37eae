"""The descriptor pool of the generated messages.

Client libraries and servers register another `inference` package in protobuf's default pool; two definitions of one
name in one pool are an error. In a pool of our own the suite can share a process with any of them.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
