"""A small Hub of one's own: the part of the Hugging Face Hub's API that its client needs, on 127.0.0.1.

Models are bare git repositories (dulwich); large files lie beside them under their SHA-256 and stand in
the trees as LFS pointers. Public repositories are open to all; tokens belong to owners, who alone see their
private repositories and change what is theirs.
"""
