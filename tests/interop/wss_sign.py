"""Signs a SOAP envelope as other libraries do. Arguments: form, key, certificate, envelope, output.

Forms: zeep-issuer-serial, zeep-binary, signxml-rsa, signxml-ecdsa.
"""

import datetime
import sys

import signxml
import xmlsec
from lxml import etree
from zeep.wsse.signature import BinarySignature, Signature
from zeep.wsse.utils import get_security_header, get_timestamp

WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"


def timestamp() -> etree._Element:
    now = datetime.datetime.now(datetime.timezone.utc)
    element = etree.Element(etree.QName(WSU, "Timestamp"), nsmap={"wsu": WSU})
    for name, moment in (("Created", now), ("Expires", now + datetime.timedelta(minutes=2))):
        etree.SubElement(element, etree.QName(WSU, name)).text = get_timestamp(moment)
    return element


def by_zeep(form: str, key: str, certificate: str, envelope: etree._Element) -> None:
    plugin = BinarySignature if form == "zeep-binary" else Signature
    signature = plugin(
        key, certificate, signature_method=xmlsec.Transform.RSA_SHA256, digest_method=xmlsec.Transform.SHA256
    )
    signature.apply(envelope, {})


def by_signxml(form: str, key: str, certificate: str, envelope: etree._Element) -> None:
    algorithm = {"signxml-rsa": "rsa-sha256", "signxml-ecdsa": "ecdsa-sha256"}[form]
    body = envelope.find("{*}Body")
    security = get_security_header(envelope)
    body.set(etree.QName(WSU, "Id"), "the-body")
    security.find(etree.QName(WSU, "Timestamp")).set(etree.QName(WSU, "Id"), "the-timestamp")
    signer = signxml.XMLSigner(
        method=signxml.methods.detached,
        signature_algorithm=algorithm,
        digest_algorithm="sha256",
        c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
    )
    signature = signer.sign(
        envelope,
        key=open(key, "rb").read(),
        cert=open(certificate).read(),
        reference_uri=["#the-body", "#the-timestamp"],
    )
    security.append(signature)


def main(form: str, key: str, certificate: str, source: str, target: str) -> None:
    envelope = etree.parse(source).getroot()
    get_security_header(envelope).append(timestamp())
    sign = by_zeep if form.startswith("zeep") else by_signxml
    sign(form, key, certificate, envelope)
    etree.ElementTree(envelope).write(target, xml_declaration=True, encoding="UTF-8")


main(*sys.argv[1:])
