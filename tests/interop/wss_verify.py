"""Verifies a WS-Security message with signxml and with zeep. Arguments: message, certificate. Exit 0 if both accept."""

import sys

import signxml
from lxml import etree
from zeep.wsse.signature import verify_envelope


def names_by_signxml(message: bytes, certificate: str) -> list[str]:
    verifier = signxml.XMLVerifier()
    results = verifier.verify(
        message,
        x509_cert=certificate,
        validate_schema=False,
        expect_config=signxml.SignatureConfiguration(expect_references=2),
    )
    return [etree.QName(result.signed_xml).localname for result in results]


def main(message_path: str, certificate_path: str) -> None:
    message = open(message_path, "rb").read()
    names = names_by_signxml(message, open(certificate_path).read())
    assert names == ["Timestamp", "Body"], names
    verify_envelope(etree.fromstring(message), certificate_path)
    print("accepted")


main(*sys.argv[1:])
