//! Webhooks that lead where they must not: every notation of a private address, names that change their meaning, redirects.
