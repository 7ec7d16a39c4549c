//! An RSA key and a message come in; a PKCS#1 v1.5 signature with SHA-1 goes out, for agencies that know nothing better.
//!
//! The safe API of the crypto provider verifies SHA-1 but, rightly, does not sign with it, so this one call goes below it.

use aws_lc_rs::{
    digest,
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeyPair,
};
use aws_lc_sys as ffi;

/// `None` when the provider refuses.
pub(super) fn sign(key: &KeyPair, message: &[u8]) -> Option<Vec<u8>> {
    let pkcs8: Pkcs8V1Der<'static> = key.as_der().ok()?;
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, message);
    let mut signature = vec![0_u8; key.public_modulus_len()];
    let mut written: std::os::raw::c_uint = 0;
    let der = pkcs8.as_ref();
    // SAFETY: `cbs` only borrows `der`, which outlives it; the parsed key is checked for null and freed on every way;
    // `RSA_get0` borrows from it; `signature` has the modulus' length, which is what RSA_sign writes at most.
    let done = unsafe {
        let mut cbs = ffi::CBS { data: der.as_ptr(), len: der.len() };
        let parsed = ffi::EVP_parse_private_key(&raw mut cbs);
        if parsed.is_null() {
            return None;
        }
        let rsa = ffi::EVP_PKEY_get0_RSA(parsed);
        let fits = !rsa.is_null() && ffi::RSA_size(rsa) as usize == signature.len();
        let (bytes, length) = (digest.as_ref().as_ptr(), digest.as_ref().len());
        let done =
            fits && ffi::RSA_sign(ffi::NID_sha1, bytes, length, signature.as_mut_ptr(), &raw mut written, rsa) == 1;
        ffi::EVP_PKEY_free(parsed);
        done
    };
    (done && written as usize == signature.len()).then_some(signature)
}
