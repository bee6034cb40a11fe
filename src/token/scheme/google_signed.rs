//! The part that Google Cloud CDN and Media CDN have in common.
