-- The blob is gone. The row stays while a replica that began before may still write the blob.
DELETE FROM gateway.document WHERE session_id = $1 AND place = $2 AND removing AND busy_until <= $3
