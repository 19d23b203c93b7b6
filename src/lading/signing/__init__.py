"""Signatures of artifacts in the form of OpenSSF Model Signing v1, which programs of others read and write.

A signature is the file ``model.sig`` in the folder: a Sigstore bundle v0.3 around a DSSE envelope around an in-toto
Statement v1, which lists every file with its SHA-256. Keys are ECDSA on P-256, P-384 or P-521.
"""

SIGNATURE = "model.sig"
"""Name of the signature, in the folder that it signs."""
