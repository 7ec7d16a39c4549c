"""HTTP message signatures (RFC 9421) by the PyPI package http-message-signatures.

    verify ALGORITHM REQUEST CERTIFICATE     exit 0 if the request, with a header Signature-Input, is accepted
    sign ALGORITHM REQUEST KEY OUTPUT        writes the request with its signature to OUTPUT

A request is a JSON file: {"method", "url", "headers": {...}, "body"}. ALGORITHM is rsa or ecdsa.
"""

import datetime
import json
import sys

import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

ALGORITHMS = {"rsa": algorithms.RSA_V1_5_SHA256, "ecdsa": algorithms.ECDSA_P256_SHA256}
COVERED = ("@method", "@target-uri", "content-type", "content-digest")


class OneKey(HTTPSignatureKeyResolver):
    def __init__(self, public=None, private=None):
        self.public, self.private = public, private

    def resolve_public_key(self, key_id):
        return self.public

    def resolve_private_key(self, key_id):
        return self.private


def prepared(path: str) -> requests.PreparedRequest:
    with open(path) as file:
        request = json.load(file)
    return requests.Request(
        request["method"], request["url"], headers=request["headers"], data=request["body"].encode()
    ).prepare()


def verify(algorithm: str, request_path: str, certificate_path: str) -> None:
    with open(certificate_path, "rb") as file:
        public = x509.load_pem_x509_certificate(file.read()).public_key()
    request = prepared(request_path)
    verifier = HTTPMessageVerifier(signature_algorithm=ALGORITHMS[algorithm], key_resolver=OneKey(public=public))
    results = verifier.verify(
        request, max_age=datetime.timedelta(minutes=5), require_components=COVERED, body=request.body
    )
    assert len(results) == 1 and results[0].body == request.body
    print("accepted")


def sign(algorithm: str, request_path: str, key_path: str, output: str) -> None:
    with open(key_path, "rb") as file:
        private = load_pem_private_key(file.read(), None)
    request = prepared(request_path)
    signer = HTTPMessageSigner(signature_algorithm=ALGORITHMS[algorithm], key_resolver=OneKey(private=private))
    signer.sign(request, key_id="any", covered_component_ids=COVERED, label="theirs", body=request.body)
    with open(output, "w") as file:
        headers = dict(request.headers.items())
        json.dump({"method": request.method, "url": request.url, "headers": headers, "body": request.body.decode()}, file)


{"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:])
