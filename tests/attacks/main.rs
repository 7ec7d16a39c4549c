//! Attacks of every kind are tried on the front door, on the trust in answers, and on what offices may see.
