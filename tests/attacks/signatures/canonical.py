"""Canonicalizes with libxml2 itself. In: a JSON object a line {text, i, prefixes}; out: a line of hexadecimal for each.

`i` is the attribute by which the apex of the subtree is found. Nothing is needed besides the C library.
"""

import ctypes
import ctypes.util
import json
import sys

xml = ctypes.CDLL(ctypes.util.find_library("xml2") or "libxml2.so.2")
for name in ("xmlReadMemory", "xmlXPathNewContext", "xmlXPathEvalExpression"):
    getattr(xml, name).restype = ctypes.c_void_p

NO_NETWORK_AND_ENTITIES = 2048 | 2
EXCLUSIVE = 1


class Found(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("nodes", ctypes.c_void_p)]


def canonical(text: bytes, index: str, prefixes: list[str]) -> bytes:
    document = xml.xmlReadMemory(text, len(text), b"d.xml", None, NO_NETWORK_AND_ENTITIES)
    assert document, f"libxml2 does not read {text!r}"
    context = xml.xmlXPathNewContext(ctypes.c_void_p(document))
    apex = f"//*[@i='{index}']/descendant-or-self::node()"
    path = f"{apex} | {apex}/@* | {apex}/namespace::*"
    found = xml.xmlXPathEvalExpression(path.encode(), ctypes.c_void_p(context))
    nodes = ctypes.cast(found, ctypes.POINTER(Found)).contents.nodes
    listed = (ctypes.c_char_p * (len(prefixes) + 1))(*[prefix.encode() for prefix in prefixes], None)
    out = ctypes.c_void_p()
    size = xml.xmlC14NDocDumpMemory(
        ctypes.c_void_p(document), ctypes.c_void_p(nodes), EXCLUSIVE, listed, 0, ctypes.byref(out)
    )
    assert size >= 0, f"libxml2 does not canonicalize {text!r}"
    made = ctypes.string_at(out, size)
    ctypes.CDLL(None).free(out)
    xml.xmlXPathFreeObject(ctypes.c_void_p(found))
    xml.xmlXPathFreeContext(ctypes.c_void_p(context))
    xml.xmlFreeDoc(ctypes.c_void_p(document))
    return made


for line in sys.stdin:
    asked = json.loads(line)
    print(canonical(asked["text"].encode(), asked["i"], asked["prefixes"]).hex())
