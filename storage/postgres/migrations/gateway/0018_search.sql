-- Finding what was said: a line of words for each numbered final, kept by triggers, so that it is written and deleted in
-- the statement that writes or deletes the final, whichever version of the gateway sends it.

-- The text search configuration of a language; 'simple', which takes words as they are, for those that PostgreSQL 15 has none for.
CREATE FUNCTION gateway.search_config(language text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE split_part(lower(language), '-', 1)
        WHEN 'ar' THEN 'arabic' WHEN 'ca' THEN 'catalan' WHEN 'da' THEN 'danish' WHEN 'de' THEN 'german'
        WHEN 'el' THEN 'greek' WHEN 'en' THEN 'english' WHEN 'es' THEN 'spanish' WHEN 'eu' THEN 'basque'
        WHEN 'fi' THEN 'finnish' WHEN 'fr' THEN 'french' WHEN 'hi' THEN 'hindi' WHEN 'hu' THEN 'hungarian'
        WHEN 'hy' THEN 'armenian' WHEN 'id' THEN 'indonesian' WHEN 'it' THEN 'italian' WHEN 'lt' THEN 'lithuanian'
        WHEN 'ne' THEN 'nepali' WHEN 'nl' THEN 'dutch' WHEN 'nn' THEN 'norwegian' WHEN 'no' THEN 'norwegian'
        WHEN 'pt' THEN 'portuguese' WHEN 'ro' THEN 'romanian' WHEN 'ru' THEN 'russian' WHEN 'sr' THEN 'serbian'
        WHEN 'sv' THEN 'swedish' WHEN 'ta' THEN 'tamil' WHEN 'tr' THEN 'turkish' WHEN 'yi' THEN 'yiddish'
        ELSE 'simple' END
$$;

-- Small letters, and spaces for the punctuation that the parser takes for letters in a database with LC_CTYPE "C". As many
-- characters as before, so that positions in it are positions in the text.
CREATE FUNCTION gateway.search_plain(said text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(regexp_replace(said, '[\u0080-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u037e\u0387\u055a-\u055f\u0589\u05be\u05f3\u05f4\u060c\u061b\u061f\u06d4\u0964\u0965\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u30fb\ue000-\uf8ff\ufe10-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]', ' ', 'g'))
$$;

-- A character of the scripts that put no spaces between words (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese), as a regular
-- expression.
CREATE FUNCTION gateway.search_unspaced() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '[\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1100-\u11ff\u1780-\u17d3\u17d7\u17dc-\u17ff\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af]'
$$;

-- What a final is found by: its words, reduced as its language has it; in scripts without spaces each two characters that stand
-- together, and the last one; and '=config', so that a query can be for lines of one configuration. At most 50,000 characters: a
-- line must never be too long for PostgreSQL.
CREATE FUNCTION gateway.search_words(config text, said text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    unspaced CONSTANT text := gateway.search_unspaced() || '+';
    plain    CONSTANT text := gateway.search_plain(left(said, 50000));
    language CONSTANT regconfig := ('pg_catalog.' || config)::regconfig;
    mark     CONSTANT tsvector := array_to_tsvector(ARRAY['=' || config]);
BEGIN
    IF plain !~ unspaced THEN
        RETURN to_tsvector(language, plain) || mark;
    END IF;
    RETURN to_tsvector(language, regexp_replace(plain, unspaced, ' ', 'g')) || mark || (
        SELECT string_agg(quote_literal(pair) || ':' || place, ' ')::tsvector FROM (
            SELECT letter || lead(letter, 1, '') OVER (PARTITION BY run ORDER BY n) AS pair,
                   row_number() OVER (ORDER BY run, n) + run AS place  -- not behind each other over what stands between
            FROM regexp_matches(plain, unspaced, 'g') WITH ORDINALITY AS found(text, run),
                 regexp_split_to_table(text[1], '') WITH ORDINALITY AS letters(letter, n)) AS pairs);
END
$$;

-- A text with the words of a query between U+E000 and U+E001, for the positions only: small letters, and spaces for scripts without.
CREATE FUNCTION gateway.search_shown(config text, said text, query tsquery) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ts_headline(('pg_catalog.' || config)::regconfig,
                       regexp_replace(gateway.search_plain(said), gateway.search_unspaced(), ' ', 'g'), query,
                       'StartSel=' || chr(57344) || ', StopSel=' || chr(57345) || ', HighlightAll=true')
$$;

CREATE TABLE gateway.search_line (
    session_id text        NOT NULL,
    seq        bigint      NOT NULL,
    said_at    timestamptz NOT NULL,
    words      tsvector    NOT NULL,
    PRIMARY KEY (session_id, seq)
);
CREATE INDEX search_line_said ON gateway.search_line (said_at);
-- What waits to be sorted into the index is read by every search, and sorted in by whoever makes it too much: little.
CREATE INDEX search_line_words ON gateway.search_line USING gin (words) WITH (gin_pending_list_limit = 256);

-- Which configurations there are lines of.
CREATE TABLE gateway.search_language (config text PRIMARY KEY);

-- Up to where finals that are older than this have their lines; no row: all have.
CREATE TABLE gateway.search_backfill (session_id text NOT NULL, seq bigint NOT NULL);

CREATE FUNCTION gateway.search_add(said gateway.transcript_event[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH final AS MATERIALIZED (
        SELECT e.*, gateway.search_config(coalesce(e.data ->> 'language', (
            SELECT t.options #>> '{languages,0}' FROM gateway.transcription t
            WHERE t.id = e.transcription_id AND t.options #> '{languages,1}' IS NULL
        ))) AS config
        FROM unnest(said) AS e
    ), language AS (
        INSERT INTO gateway.search_language SELECT DISTINCT config FROM final ORDER BY config ON CONFLICT DO NOTHING
    )
    INSERT INTO gateway.search_line (session_id, seq, said_at, words)
    SELECT session_id, seq,
           CASE WHEN data ->> 'startedAt' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$'
                THEN (data ->> 'startedAt')::timestamptz ELSE created_at END,
           gateway.search_words(config, coalesce(data ->> 'text', ''))
    FROM final
    ON CONFLICT DO NOTHING;
END
$$;

-- With the rights of the table's owner: where `gateway migrate` runs as another role than the gateway, that one stores finals also
-- until it is granted what is new.
CREATE FUNCTION gateway.search_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM gateway.search_add(array_agg(ROW(a.*)::gateway.transcript_event)) FROM added a HAVING count(*) > 0;
    RETURN NULL;
-- No final is refused for the sake of its index.
EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded OR feature_not_supported
            OR syntax_error_or_access_rule_violation THEN
    RAISE WARNING 'gateway: finals are stored that no search finds (%)', SQLSTATE;  -- no text: it may quote words
    RETURN NULL;
END
$$;

CREATE FUNCTION gateway.search_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM gateway.search_line l USING removed r WHERE l.session_id = r.session_id AND l.seq = r.seq;
    RETURN NULL;
END
$$;

-- Triggers of others' tables could use them.
REVOKE EXECUTE ON FUNCTION gateway.search_added(), gateway.search_removed() FROM PUBLIC;

-- Each is made once no writer is at the table, so that every final is either there already or meets it.
CREATE TRIGGER search_added AFTER INSERT ON gateway.transcript_event
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION gateway.search_added();
CREATE TRIGGER search_removed AFTER DELETE ON gateway.transcript_event
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION gateway.search_removed();
INSERT INTO gateway.search_backfill SELECT '', 0 WHERE EXISTS (SELECT FROM gateway.transcript_event);

-- Lines that a query finds, said in [since, until), in no order. `sessions`: only of these; NULL: of all. `each`: there are few, so
-- that each is looked at; of a common word the index would have to read all. Planned anew for each call, when the values are known:
-- one for a common word and one for a rare word want different plans, and a part of the condition goes.
CREATE FUNCTION gateway.search_lines(query tsquery, since timestamptz, until timestamptz, sessions text[], each boolean)
RETURNS TABLE (session_id text, seq bigint, said_at timestamptz) LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan SET jit = off AS $$
BEGIN
    RETURN QUERY SELECT l.session_id, l.seq, l.said_at FROM gateway.search_line l
        WHERE (sessions IS NULL OR l.session_id = ANY (sessions)) AND l.said_at >= since AND l.said_at < until
          AND CASE WHEN each THEN (l.words @@ query) IS TRUE ELSE l.words @@ query END;
END
$$;
