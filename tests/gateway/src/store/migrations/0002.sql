-- Who is signed in on the page. Of the cookie's value there is only its SHA-256.
CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY,
    name       TEXT NOT NULL,        -- of the key, to show
    scopes     TEXT NOT NULL,        -- words with commas between
    key_id     TEXT,                 -- of the key that signed in; it ends with this key
    given_hash BLOB,                 -- of the key that the gateway was started with, if by that
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
