"""The backends that come with the server, installed as `kserve_v2_backends`; each is a plug-in like any
other's.
"""
