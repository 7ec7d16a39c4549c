"""JSON Web Signatures by jwcrypto and PyJWT.

    verify TOKEN PAYLOAD CERTIFICATE    exit 0 if both accept the token for that payload
    sign ALGORITHM PAYLOAD KEY OUTPUT   writes OUTPUT.compact and OUTPUT.detached

TOKEN may be detached. All arguments but ALGORITHM are files.
"""

import base64
import sys

import jwt
from cryptography import x509
from jwcrypto import jwk, jws


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def encoded(payload: bytes) -> str:
    return base64.urlsafe_b64encode(payload).rstrip(b"=").decode()


def verify(token_path: str, payload_path: str, certificate_path: str) -> None:
    token, payload = read(token_path).decode(), read(payload_path)
    header, carried, signature = token.split(".")
    whole = f"{header}.{carried or encoded(payload)}.{signature}"
    certificate = read(certificate_path)

    by_jwcrypto = jws.JWS()
    by_jwcrypto.deserialize(whole)
    by_jwcrypto.verify(jwk.JWK.from_pem(certificate))
    assert by_jwcrypto.payload == payload

    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert jwt.PyJWS().decode(whole, key, algorithms=["RS256", "ES256"]) == payload
    print("accepted")


def sign(algorithm: str, payload_path: str, key_path: str, output: str) -> None:
    token = jws.JWS(read(payload_path))
    token.add_signature(jwk.JWK.from_pem(read(key_path)), algorithm, f'{{"alg":"{algorithm}","kid":"any"}}', None)
    compact = token.serialize(compact=True)
    header, _, signature = compact.split(".")
    for name, text in (("compact", compact), ("detached", f"{header}..{signature}")):
        with open(f"{output}.{name}", "w") as file:
            file.write(text)


{"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:])
