"""The folders that `kserve-v2 init --template` makes; no code of the server. `NAME` in names and `@NAME@` in files that
end in `.in` stand for the model's name.
"""
