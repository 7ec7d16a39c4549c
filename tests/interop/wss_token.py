"""Digests the token that a WS-Security message signs by STR-Transform, as libxml2 canonicalizes it. Argument: message.
Exit 0 if the message names the same digest."""

import base64
import hashlib
import sys

from lxml import etree

DS = "{http://www.w3.org/2000/09/xmldsig#}"
OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSU = "{" + OASIS + "wssecurity-utility-1.0.xsd}"
WSSE = "{" + OASIS + "wssecurity-secext-1.0.xsd}"
STR_TRANSFORM = OASIS + "soap-message-security-1.0#STR-Transform"


def by_id(root, identifier):
    (found,) = [element for element in root.iter() if element.get(WSU + "Id") == identifier]
    return found


def main(path: str) -> None:
    root = etree.parse(path).getroot()
    (reference,) = [
        it for it in root.iter(DS + "Reference") if it.find(f".//{DS}Transform").get("Algorithm") == STR_TRANSFORM
    ]
    pointer = by_id(root, reference.get("URI")[1:])
    assert pointer.tag == WSSE + "SecurityTokenReference" and pointer.getparent().tag == DS + "KeyInfo"
    token = by_id(root, pointer.find(WSSE + "Reference").get("URI")[1:])
    canonical = etree.tostring(token, method="c14n", exclusive=True, inclusive_ns_prefixes=["#default"], with_tail=False)
    # WSS 1.0, section 8.3: the apex says its default namespace, even that there is none.
    name, rest = canonical.split(b" ", 1)
    if not rest.startswith(b"xmlns="):
        canonical = name + b' xmlns="" ' + rest
    digest = base64.b64encode(hashlib.sha256(canonical).digest()).decode()
    assert digest == reference.find(DS + "DigestValue").text, canonical
    print("accepted")


main(*sys.argv[1:])
