"""The bundle around a statement: Sigstore's v0.3 with a DSSE envelope, signed with a key."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lading.signing.keys import hash_of, key_id
from lading.signing.statement import PAYLOAD_TYPE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True)
class Bundle:
    """A signed payload, not yet verified."""

    key: str
    """Id of the key that the bundle names."""
    payload: bytes
    signature: bytes

    def verify(self, key: EllipticCurvePublicKey) -> bool:
        """Whether this key made the signature."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        try:
            key.verify(self.signature, _signed_bytes(self.payload), ECDSA(hash_of(key)))
        except InvalidSignature:
            return False
        return True


def write_bundle(payload: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """Sign a payload."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    public = key.public_key()
    signature = key.sign(_signed_bytes(payload), ECDSA(hash_of(public)))
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key_id(public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle).encode()


def read_bundle(content: bytes) -> Bundle:
    """Read a bundle that a key signed.

    Raises:
        ValueError: it is truncated, of another version, or signed by other means; the message is a clause.
    """
    try:
        bundle = json.loads(content)
        if bundle["mediaType"] != MEDIA_TYPE:
            raise ValueError(f"it is of the type {str(bundle['mediaType'])[:80]!r}, and {MEDIA_TYPE!r} is wanted")
        material, envelope = bundle["verificationMaterial"], bundle["dsseEnvelope"]
        if not material.get("publicKey", {}).get("hint"):
            raise ValueError("it names no key: only signatures with a key are accepted here")
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError(f"its payload is of the type {str(envelope['payloadType'])[:80]!r}")
        signatures = envelope["signatures"]
        if len(signatures) != 1:
            raise ValueError(f"it has {len(signatures)} signatures, and one is wanted")
        return Bundle(
            key=str(material["publicKey"]["hint"]),
            payload=base64.b64decode(envelope["payload"], validate=True),
            signature=base64.b64decode(signatures[0]["sig"], validate=True),
        )
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("it is not JSON: it was truncated or changed") from None
    except binascii.Error:
        raise ValueError("its payload or its signature is not base64: it was changed") from None
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is not a Sigstore bundle with one signature by a key") from None


def _signed_bytes(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what the key signs."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
