UPDATE gateway.webhook w SET secrets = ARRAY[$2::text, w.secrets[1]], former_until = $3 WHERE w.id = $1
RETURNING {webhook}
