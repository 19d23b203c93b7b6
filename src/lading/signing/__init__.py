"""Signatures of artifacts in the form of OpenSSF Model Signing v1, which programs of others read and write.

A signature is the file ``model.sig`` in the folder: a Sigstore bundle v0.3 around a DSSE envelope around an in-toto
Statement v1, which lists every file with its SHA-256. Keys are ECDSA on P-256, P-384 or P-521.

More statements about the same files stand in ``attestations/``, which ``model.sig`` leaves out: each names the digest
of what ``model.sig`` signed, and is signed itself.
"""

SIGNATURE = "model.sig"
"""Name of the signature, in the folder that it signs."""
ATTESTATIONS = "attestations"
"""Name of the folder of further statements, in the folder that they are about."""
PROVENANCE, MEASUREMENTS = (f"{ATTESTATIONS}/{name}.sigstore.json" for name in ("provenance", "measurements"))
