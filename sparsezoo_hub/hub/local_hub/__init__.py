"""A small Hub of one's own: the part of the Hugging Face Hub's API that its client needs, on 127.0.0.1.

Models are bare git repositories (dulwich); large files lie beside them under their SHA-256 and stand in
the trees as LFS pointers. Reading is open, writing needs the token of the Hub's folder.
"""
