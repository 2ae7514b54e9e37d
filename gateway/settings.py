"""Every setting, read once from the environment: one table of names, and one error that lists all wrong values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from gateway.live.address import Network, parse_networks
from gateway.variables import Variable, WrongSettings, lines
from gateway.variables import as_blob_url as _blob_url
from gateway.variables import as_choice as _choice
from gateway.variables import as_flag as _flag
from gateway.variables import as_gateway_url as _gateway_url
from gateway.variables import as_names as _names
from gateway.variables import as_number as _number
from gateway.variables import as_redis_url as _redis_url
from gateway.variables import as_replica_url as _replica_url
from gateway.variables import as_secret as _secret
from gateway.variables import as_text as _text
from gateway.variables import as_url as _url
from gateway.variables import as_vercel_token as _vercel_token
from gateway.variables import as_whole as _whole
from gateway.webhooks.addresses import Allowed, check_url
from gateway.webhooks.addresses import as_allowed as _webhook_allow
from gateway.webhooks.signature import as_secrets as _webhook_secrets

__all__ = ["VARIABLES", "Settings", "WrongSettings", "doubts", "secret_files"]


_SECRET_LENGTH: Final = 32
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


VARIABLES: Final = (
    Variable("DATABASE_URL", "database_url", _url("postgresql", "postgres"), "", "PostgreSQL, Prisma-style URLs "
             "included. Without it an embedded PostgreSQL runs in the data directory.", is_secret=True),
    Variable("GATEWAY_DATABASE_TABLES", "database_tables", _choice("auto", "own", "external"), "auto", "Whose the "
             "app's tables are: `own` lets the gateway make them, `external` only checks them, `auto` finds out."),
    Variable("GATEWAY_AUTO_MIGRATE", "auto_migrate", _flag, "true", "Bring the `gateway` schema (and own tables) up "
             "to date at start. With `false`, run `gateway migrate`."),
    Variable("REDIS_URL", "redis_url", _redis_url, "", "Brings partials to watchers on other "
             "replicas, and makes the rate limits hold over all together; without it, or while it is away, they get "
             "finals only, and each counts for itself. One server, a Unix socket, a Cluster or Sentinels "
             "(docs/replicas.md).", is_secret=True),
    Variable("LIVEKIT_URL", "livekit_url", _url("ws", "wss", "http", "https"), "", "LiveKit server."),
    Variable("LIVEKIT_PUBLIC_URL", "livekit_public_url", _url("ws", "wss", "http", "https"), "", "Where browsers reach "
             "it, if elsewhere; told with room tokens."),
    Variable("LIVEKIT_API_KEY", "livekit_api_key", _text, "", "LiveKit API key; also the issuer of room tokens that "
             "watchers may show. Several lines, with as many secrets, while it is rotated: the first pair signs, all "
             "are accepted.", is_paired=True),
    Variable("LIVEKIT_API_SECRET", "livekit_api_secret", _text, "", "LiveKit API secret; line by line that of the key.",
             is_secret=True),
    Variable("GATEWAY_LIVEKIT_AUTO_START", "livekit_auto_start", _flag, "true", "Begin a session's transcription when "
             "people are in its room, as webhooks tell and a look every 15 s finds. One that was stopped by request "
             "waits for the next `start`."),
    Variable("GATEWAY_LIVEKIT_CAPTIONS", "livekit_captions", _flag, "true", "Send captions into the room, as text "
             "streams on `lk.transcription`."),
    Variable("GATEWAY_LIVEKIT_SCREEN_SHARE", "livekit_screen_share", _flag, "false", "Also transcribe the sound of "
             "shared screens."),
    Variable("GATEWAY_LIVEKIT_UNSUBSCRIBE_MUTED_S", "livekit_unsubscribe_muted_s", _number(0, 86_400), "0", "A "
             "microphone muted for this time is not received until it is unmuted, seconds; 0 = always received. "
             "Saves little (docs/livekit.md) and costs up to 0.6 s of words after unmuting."),
    Variable("GATEWAY_EMPTY_ROOM_S", "empty_room_s", _number(0, 86_400), "60", "A LiveKit room without people for "
             "this time ends its transcription, seconds; 0 = never."),
    Variable("GATEWAY_MAX_TRANSCRIPTION_S", "max_transcription_s", _number(0, 604_800), "43200", "A transcription is "
             "stopped after this time, seconds; 0 = never."),
    Variable("GLADIA_API_KEY", "gladia_api_key", _text, "", "Key of the speech provider. Without it (and without "
             "GATEWAY_STT_ENGINE) the offline recogniser is used, which is shown wherever the engine is shown.",
             is_secret=True),
    Variable("GLADIA_API_URL", "gladia_api_url", _url("http", "https"), "https://api.gladia.io", "Base URL of the "
             "speech provider."),
    Variable("GATEWAY_STT_ENGINE", "stt_engine", _choice("gladia", "pocketsphinx"), "", "Default: `gladia` when "
             "GLADIA_API_KEY is set, else `pocketsphinx` (offline, English only)."),
    Variable("GATEWAY_STT_ENDPOINTING_S", "stt_endpointing_s", _number(0.01, 10), "0.3", "Silence that ends an "
             "utterance, seconds."),
    Variable("GATEWAY_STT_MAX_UTTERANCE_S", "stt_max_utterance_s", _number(5, 60), "15", "A longer utterance is cut, "
             "seconds."),
    Variable("GATEWAY_STT_MAX_SESSIONS", "stt_max_sessions", _whole(0, 1_000_000), "0", "Sessions that the provider "
             "account allows at once, over all gateways on this database; further tracks wait, with up to a minute of "
             "audio held. 0 = as many as the provider takes."),
    Variable("GATEWAY_PROVIDER_DELETE", "provider_delete", _flag, "true", "When a session is deleted, or its time is "
             "over (GATEWAY_RETENTION_DAYS), also delete what the speech provider keeps of it, audio included."),
    Variable("GATEWAY_VAD_MODE", "vad_mode", _choice("off", "shadow", "on"), "on", "Voice-activity gate: `on` sends "
             "speech and what is around it, `shadow` sends everything and says in the receipt what `on` would save, "
             "`off` sends everything. Music and very noisy microphones may need `off`."),
    Variable("GATEWAY_STT_IDLE_S", "stt_idle_s", _number(5, 3600), "60", "Silence after which a speaker's provider "
             "session is ended, seconds; the next speech opens another."),
    Variable("GATEWAY_STT_MUTE_S", "stt_mute_s", _number(0, 25), "20", "Speech without any text after which the "
             "provider counts as mute and its session is renewed, seconds of speech; 0 = never."),
    Variable("GATEWAY_HTTP_HOST", "http_host", _text, "0.0.0.0", "Address of the HTTP API and the streams."),
    Variable("GATEWAY_HTTP_PORT", "http_port", _whole(0, 65535), "8080", "Its port; 0 takes a free one."),
    Variable("GATEWAY_METRICS_PORT", "metrics_port", _whole(1, 65535), "", "Serve /metrics on a port of its own, "
             "without a token, instead of on the API's; /debug/ as well, which needs a service token on either "
             "(docs/runbook.md)."),
    Variable("GATEWAY_RTMP_HOST", "rtmp_host", _text, "0.0.0.0", "Address of the RTMP server."),
    Variable("GATEWAY_RTMP_PORT", "rtmp_port", _whole(-1, 65535), "1935", "Its port; 0 = off, -1 takes a free one."),
    Variable("GATEWAY_PUBLIC_URL", "public_url", _url("http", "https"), "", "How browsers and encoders reach this "
             "gateway; default http://localhost and the port."),
    Variable("GATEWAY_ADVERTISE_URL", "advertise_url", _replica_url, "", "Where other gateways on the same database "
             "reach this very process, not a balancer in front of several. Default: the address with which it reaches "
             "the database, or else Redis, and the HTTP port."),
    Variable("GATEWAY_MAX_TRACKS", "max_tracks", _whole(0, 1_000_000), "250", "Speakers that this process transcribes "
             "at once, each transcription counting as one at least. With so many it is full: further transcriptions "
             "begin on another replica, or are refused; those that run here get further speakers all the same. 250 "
             "take about one core. 0 = no limit."),
    Variable("GATEWAY_DATA_DIR", "data_dir", Path, "var", "Folder for the embedded database and other state."),
    Variable("GATEWAY_SPOOL_MB", "spool_mb", _whole(1, 1_000_000), "256", "Room on the data folder's disk for finals "
             "that the database cannot take now, megabytes; 1 MB holds about 700."),
    Variable("GATEWAY_BLOB_URL", "blob_url", _blob_url, "", "Where transcript documents go: `file:///folder`, "
             "`s3://bucket/prefix` or `vercel:`. Default: `vercel:` when BLOB_READ_WRITE_TOKEN is set, else the folder "
             "`documents` in the data directory."),
    Variable("BLOB_READ_WRITE_TOKEN", "blob_token", _vercel_token, "", "Token of a Vercel Blob store.", is_secret=True),
    Variable("GATEWAY_BLOB_ACCESS", "blob_access", _choice("private", "public"), "private", "How the Vercel Blob "
             "store was made. A document in a public one is open to all who have its URL, which cannot be guessed."),
    Variable("VERCEL_BLOB_API_URL", "blob_api_url", _url("http", "https"), "https://vercel.com/api/blob", "Base URL of "
             "Vercel Blob's API."),
    Variable("GATEWAY_S3_ENDPOINT", "s3_endpoint", _url("http", "https"), "", "An S3-compatible server, "
             "for `s3://`; default Amazon's own."),
    Variable("GATEWAY_S3_REGION", "s3_region", _text, "us-east-1", "Region of the bucket."),
    Variable("AWS_ACCESS_KEY_ID", "s3_key_id", _text, "", "Key pair for the bucket. Without one, the machine's role "
             "(instance, container) is used.", is_paired=True),
    Variable("AWS_SECRET_ACCESS_KEY", "s3_secret", _text, "", "Its secret.", is_secret=True),
    Variable("GATEWAY_RETENTION_DAYS", "retention_days", _whole(0, 36_500), "0", "What was said is deleted so many "
             "days after its session was over: segments, numbered finals, document, analysis. 0 = kept. Usage rows are "
             "billing records and stay."),
    Variable("GATEWAY_API_TOKENS", "api_tokens", _names, "", "Service tokens, comma-separated so that they can be "
             "rotated. At least one is needed.", is_secret=True),
    Variable("GATEWAY_JWT_SECRET", "jwt_secret", _secret, "", "HS256 secret of user tokens, at least 32 bytes. "
             "Several lines while it is rotated: a token that is signed with any of them is accepted.",
             is_secret=True),
    Variable("GATEWAY_JWT_AUDIENCE", "jwt_audience", _text, "", "User tokens must have been made for this audience "
             "(`aud`); without it any is taken."),
    Variable("GATEWAY_JWT_ISSUER", "jwt_issuer", _text, "", "User tokens must come from this issuer (`iss`); without "
             "it any is taken."),
    Variable("GATEWAY_JWKS_URL", "jwks_url", _url("http", "https"), "", "Where the public keys of user tokens (RS256, "
             "ES256) are, as a JSON Web Key Set."),
    Variable("GATEWAY_ROOM_TOKEN_HOURS", "room_token_hours", _number(0.1, 24), "6", "How long a LiveKit token for a "
             "session's room is good, hours."),
    Variable("GATEWAY_JOIN_STARTS", "join_starts", _choice("livekit", "rtmp", "websocket", "nothing"), "", "The source "
             "with which a join begins a session's transcription. Default: `livekit` when LIVEKIT_URL or "
             "WS_SERVER_URL is set, else `nothing`."),
    Variable("WS_SERVER_URL", "ws_server_url", _gateway_url, "", "The gateway that transcribes sessions, if "
             "it is another one: a session's start and stop go there. Without it, this one does."),
    Variable("WS_SERVER_TOKEN", "ws_server_token", _text, "", "A service token of that gateway. Default: the first of "
             "GATEWAY_API_TOKENS.", is_secret=True),
    Variable("GATEWAY_INACTIVE_MINUTES", "inactive_minutes", _number(0, 525_600), "30", "A session without a join or "
             "speech for this time is ended, minutes; 0 = never."),
    Variable("GATEWAY_EXPIRE_HOURS", "expire_hours", _number(0, 8_760), "24", "A session that no participant joins "
             "within this time of its creation expires, hours; 0 = never."),
    Variable("GATEWAY_UPKEEP_S", "upkeep_s", _number(0.1, 3_600), "30", "How often sessions are looked at for the two, "
             "seconds; one replica does it for all. `gateway maintain` does it once."),
    Variable("GATEWAY_CREATE_PER_MINUTE", "create_per_minute", _whole(0, 1_000_000), "10", "Sessions that one user may "
             "create a minute; 0 = no limit. Services are not limited."),
    Variable("GATEWAY_LIST_PER_MINUTE", "list_per_minute", _whole(0, 1_000_000), "60", "How often one user may list "
             "sessions a minute; 0 = no limit."),
    Variable("GATEWAY_JOIN_PER_MINUTE", "join_per_minute", _whole(0, 1_000_000), "60", "How often one user, or all "
             "guests of one address, may join or ask for a room token a minute; 0 = no limit."),
    Variable("GATEWAY_MAX_PARTICIPANTS", "max_participants", _whole(0, 1_000_000), "5000", "How many participants may "
             "be in one session, by joining or by speaking, those who have left included; 0 = no limit. The last "
             "tenth, at most 100, is not for guests."),
    Variable("GATEWAY_AUDIT_DAYS", "audit_days", _whole(0, 36_500), "365", "How long the audit log is kept, days; 0 = "
             "for ever."),
    Variable("GATEWAY_SEARCH_PER_MINUTE", "search_per_minute", _whole(0, 1_000_000), "120", "How often one user may "
             "search what was said a minute; 0 = no limit."),
    Variable("GATEWAY_STEER_PER_MINUTE", "steer_per_minute", _whole(0, 1_000_000), "60", "How often one user, or all "
             "guests of one address, may start or end, pause, resume and change the host a minute, all together; 0 = "
             "no limit. Services are not limited."),
    Variable("GATEWAY_WEBHOOK_URL", "webhook_url", _text, "", "Is told what happens (docs/webhooks.md). The same "
             "for all replicas."),
    Variable("GATEWAY_WEBHOOK_SECRET", "webhook_secrets", _webhook_secrets, "", "Signs what it is told: `whsec_` and "
             "base64 of 24 to 64 bytes, as Standard Webhooks has it. Several, comma-separated, while they are rotated.",
             is_secret=True),
    Variable("GATEWAY_WEBHOOK_ALLOW", "webhook_allow", _webhook_allow, "", "`http`, `private` or `http,private`: where "
             "webhooks may lead beside public addresses over https."),
    Variable("GATEWAY_ALLOWED_ORIGINS", "allowed_origins", _names, "", "Origins of pages that may use the API and the "
             "stream from a browser, comma-separated; `*` for all. The gateway's own is always allowed."),
    Variable("GATEWAY_COST_PER_MINUTE", "cost_per_minute", _number(0, 1000), "0.01", "Price of one minute of audio, "
             "USD."),
    Variable("GATEWAY_TRANSCRIPTION", "transcription", _flag, "true", "`false`: no transcription begins on this "
             "gateway. For one space: `PUT /api/spaces/{id}/limits`."),
    Variable("GATEWAY_SESSION_MINUTES", "session_minutes", _number(0, 10_000_000), "0", "Minutes of audio that one "
             "session may send to the provider; 0 = no limit."),
    Variable("GATEWAY_USER_MINUTES_PER_DAY", "user_minutes_per_day", _number(0, 10_000_000), "0", "Minutes of audio in "
             "all sessions that one user has created, each day (UTC); 0 = no limit."),
    Variable("GATEWAY_SPACE_MINUTES_PER_DAY", "space_minutes_per_day", _number(0, 10_000_000), "0", "Minutes of audio "
             "in all sessions of one space, each day (UTC); 0 = no limit."),
    Variable("GATEWAY_DRAIN_S", "drain_s", _number(0, 300), "10", "How long a stop awaits late finals, seconds."),
    Variable("GATEWAY_LEASE_S", "lease_s", _number(5, 600), "6", "After so many seconds without a sign of life a "
             "replica is lost, and others take over what it transcribes."),
    Variable("GATEWAY_CUTOFF_S", "cutoff_s", _number(0, 600), "3", "After so many seconds without a line to the speech "
             "provider, or to LiveKit, a transcription goes to a replica that has one; 0 = never."),
    Variable("GATEWAY_STORE_PARTIALS", "store_partials", _flag, "false", "Also write partials to TranscriptSegment."),
    Variable("GATEWAY_ANALYSIS_URL", "analysis_url", _url("http", "https"), "", "OpenAI-compatible chat endpoint that "
             "analyses ended sessions: the part before `/chat/completions`, such as `https://api.openai.com/v1`. "
             "Transcripts are sent there. Without it the analysis is extractive, by word statistics."),
    Variable("GATEWAY_ANALYSIS_KEY", "analysis_key", _text, "", "Its API key, if it asks for one.", is_secret=True),
    Variable("GATEWAY_ANALYSIS_MODEL", "analysis_model", _text, "", "The model to ask; needed with the URL."),
    Variable("GATEWAY_ANALYSIS_TIMEOUT_S", "analysis_timeout_s", _number(0.1, 3600), "120", "How long one answer of "
             "the model may take, seconds."),
    Variable("GATEWAY_ANALYSIS_PART_CHARACTERS", "analysis_part_characters", _whole(2_000, 1_000_000), "30000",
             "Longer transcripts are analysed in parts of so many characters; 30000 are about 8,000 tokens of English "
             "and 12,000 of Russian."),
    Variable("GATEWAY_ANALYSIS_WORKERS", "analysis_workers", _whole(0, 64), "2", "Analyses at once in this process; "
             "0 leaves them to other replicas."),
    Variable("GATEWAY_ANALYSIS_ATTEMPTS", "analysis_attempts", _whole(1, 20), "5", "After so many attempts an analysis "
             "is kept as FAILED."),
    Variable("GATEWAY_MAX_WATCHERS", "max_watchers", _whole(1, 1_000_000), "20000", "Stream connections in all."),
    Variable("GATEWAY_MAX_WATCHERS_PER_SESSION", "max_watchers_per_session", _whole(1, 1_000_000), "10000", "Stream "
             "connections of one session; with REDIS_URL over all replicas (docs/scaling.md)."),
    Variable("GATEWAY_MAX_WATCHERS_PER_ADDRESS", "max_watchers_per_address", _whole(1, 1_000_000), "1000", "Stream "
             "connections from one address (of IPv6: from one /64)."),
    Variable("GATEWAY_MAX_SENDERS", "max_senders", _whole(1, 1_000_000), "1000", "Audio connections in all."),
    Variable("GATEWAY_MAX_SENDERS_PER_SESSION", "max_senders_per_session", _whole(1, 1_000_000), "200", "Audio "
             "connections of one session."),
    Variable("GATEWAY_MAX_SENDERS_PER_ADDRESS", "max_senders_per_address", _whole(1, 1_000_000), "100", "Audio "
             "connections from one address (of IPv6: from one /64)."),
    Variable("GATEWAY_MAX_HTTP_CONNECTIONS", "max_http_connections", _whole(1, 1_000_000), "24000", "HTTP connections "
             "in all, streams and audio among them. Fewer where the process may not open so many files (`ulimit -n`). "
             "When all are taken, one that keeps the gateway waiting makes room: with its request, or by not reading."),
    Variable("GATEWAY_MAX_HTTP_CONNECTIONS_PER_ADDRESS", "max_http_connections_per_address", _whole(1, 1_000_000),
             "1200", "HTTP connections from one address (of IPv6: from one /64). GATEWAY_TRUSTED_PROXIES have no such "
             "limit: their clients' streams are counted by X-Forwarded-For."),
    Variable("GATEWAY_HTTP_HEAD_S", "http_head_s", _number(0.1, 600), "10", "How long a request's head may take from "
             "its connection or its first byte, seconds."),
    Variable("GATEWAY_HTTP_BODY_S", "http_body_s", _number(0.1, 3_600), "30", "How long its body may take, and how "
             "long nothing of an answer may be read (Linux), seconds."),
    Variable("GATEWAY_HTTP_KEEPALIVE_S", "http_keepalive_s", _number(0.1, 3_600), "75", "How long a connection may "
             "wait for its next request, seconds; longer than the proxy in front keeps its own."),
    Variable("GATEWAY_MAX_RTMP_CONNECTIONS", "max_rtmp_connections", _whole(1, 100_000), "500", "RTMP connections in "
             "all. When all are taken, one that does not publish makes room."),
    Variable("GATEWAY_MAX_RTMP_CONNECTIONS_PER_ADDRESS", "max_rtmp_connections_per_address", _whole(1, 100_000), "100",
             "RTMP connections from one address (of IPv6: from one /64); GATEWAY_TRUSTED_PROXIES have no such limit."),
    Variable("GATEWAY_RTMP_HANDSHAKE_S", "rtmp_handshake_s", _number(0.1, 600), "5", "How long an RTMP handshake may "
             "take, seconds."),
    Variable("GATEWAY_RTMP_PUBLISH_S", "rtmp_publish_s", _number(0.1, 600), "10", "How long an RTMP connection may be "
             "there without publishing, seconds."),
    Variable("GATEWAY_RESERVED_FILES", "reserved_files", _whole(32, 100_000), "256", "Open files that are kept for "
             "database, speech provider, rooms and disk: listeners take what `ulimit -n` leaves above them."),
    Variable("GATEWAY_TRUSTED_PROXIES", "trusted_proxies", parse_networks, "", "Addresses or networks of the proxies "
             "in front, comma-separated: their X-Forwarded-For names the client's address. Without it all clients "
             "behind one count as one address."),
    Variable("GATEWAY_LOG_FORMAT", "log_format", _choice("json", "text"), "json", "Shape of the log lines."),
    Variable("GATEWAY_COMMIT", "commit", _text, "", "Commit of this build, for the metric gateway_build_info; the "
             "image sets it."),
    Variable("GATEWAY_LOG_LEVEL", "log_level", _choice("debug", "info", "warning", "error"), "info", "How much is "
             "logged. SIGUSR1 switches to debug for a quarter of an hour, and back."),
    Variable("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint", _url("http", "https"), "", "Where traces go, over "
             "OTLP/HTTP: `http://collector:4318`; none are made without it (docs/logs.md#traces). The other variables "
             "of OpenTelemetry's SDK hold, too."),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment, checked. Times in seconds, money in USD."""

    database_url: str | None = field(default=None, repr=False)
    database_tables: Literal["auto", "own", "external"] = "auto"
    auto_migrate: bool = True
    redis_url: str | None = field(default=None, repr=False)
    livekit_url: str | None = None
    livekit_public_url: str | None = None
    livekit_api_key: str | None = None
    livekit_api_secret: str | None = field(default=None, repr=False)
    livekit_auto_start: bool = True
    livekit_captions: bool = True
    livekit_screen_share: bool = False
    livekit_unsubscribe_muted_s: float = 0.0
    empty_room_s: float = 60.0
    max_transcription_s: float = 43_200.0
    gladia_api_key: str | None = field(default=None, repr=False)
    gladia_api_url: str = "https://api.gladia.io"
    stt_engine: str | None = None
    stt_endpointing_s: float = 0.3
    stt_max_utterance_s: float = 15.0
    stt_max_sessions: int = 0
    provider_delete: bool = True
    vad_mode: str = "on"
    stt_idle_s: float = 60.0
    stt_mute_s: float = 20.0
    http_host: str = "0.0.0.0"
    http_port: int = 8080
    metrics_port: int | None = None
    rtmp_host: str = "0.0.0.0"
    rtmp_port: int = 1935
    public_url: str | None = None
    advertise_url: str | None = None
    max_tracks: int = 250
    data_dir: Path = Path("var")
    spool_mb: int = 256
    blob_url: str | None = None
    blob_token: str | None = field(default=None, repr=False)
    blob_access: Literal["private", "public"] = "private"
    blob_api_url: str = "https://vercel.com/api/blob"
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_key_id: str | None = None
    s3_secret: str | None = field(default=None, repr=False)
    retention_days: int = 0
    api_tokens: tuple[str, ...] = field(default=(), repr=False)
    jwt_secret: str | None = field(default=None, repr=False)
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    jwks_url: str | None = None
    room_token_hours: float = 6.0
    join_starts: str | None = None
    ws_server_url: str | None = None
    ws_server_token: str | None = field(default=None, repr=False)
    inactive_minutes: float = 30.0
    expire_hours: float = 24.0
    upkeep_s: float = 30.0
    create_per_minute: int = 10
    list_per_minute: int = 60
    join_per_minute: int = 60
    max_participants: int = 5_000
    audit_days: int = 365
    search_per_minute: int = 120
    steer_per_minute: int = 60
    webhook_url: str | None = None
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    webhook_allow: Allowed = field(default_factory=Allowed)
    allowed_origins: tuple[str, ...] = ()
    cost_per_minute: float = 0.01
    transcription: bool = True
    session_minutes: float = 0.0
    user_minutes_per_day: float = 0.0
    space_minutes_per_day: float = 0.0
    drain_s: float = 10.0
    lease_s: float = 6.0
    cutoff_s: float = 3.0
    store_partials: bool = False
    analysis_url: str | None = None
    analysis_key: str | None = field(default=None, repr=False)
    analysis_model: str | None = None
    analysis_timeout_s: float = 120.0
    analysis_part_characters: int = 30_000
    analysis_workers: int = 2
    analysis_attempts: int = 5
    max_watchers: int = 20_000
    max_watchers_per_session: int = 10_000
    max_watchers_per_address: int = 1_000
    max_senders: int = 1_000
    max_senders_per_session: int = 200
    max_senders_per_address: int = 100
    max_http_connections: int = 24_000
    max_http_connections_per_address: int = 1_200
    http_head_s: float = 10.0
    http_body_s: float = 30.0
    http_keepalive_s: float = 75.0
    max_rtmp_connections: int = 500
    max_rtmp_connections_per_address: int = 100
    rtmp_handshake_s: float = 5.0
    rtmp_publish_s: float = 10.0
    reserved_files: int = 256
    trusted_proxies: tuple[Network, ...] = ()
    log_format: str = "json"
    log_level: str = "info"
    commit: str | None = None
    otlp_endpoint: str | None = None

    @property
    def engine(self) -> str:
        """Which recogniser is asked for: a missing key never silently replaces a chosen provider."""
        return self.stt_engine or ("gladia" if self.gladia_api_key else "pocketsphinx")

    @property
    def blob_store(self) -> str:
        """URL of the store of transcript documents."""
        chosen = self.blob_url or ("vercel:" if self.blob_token else None)
        return chosen or (self.data_dir.absolute() / "documents").as_uri()

    @property
    def join_source(self) -> str | None:
        """With which source a join begins a session's transcription; None: with none."""
        by_default = "livekit" if self.livekit_url or self.ws_server_url else "nothing"
        source = self.join_starts or by_default
        return None if source == "nothing" else source

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, needs_token: bool = True) -> Settings:
        """Read and check everything.

        Raises: WrongSettings with every problem, none of the secrets.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable in VARIABLES:
            given = ""
            try:
                given = variable.given(env) or variable.default
                values[variable.field] = variable.parse(given) if given else None
            except ValueError as error:
                shown = "" if variable.is_secret or "@" in given else f" (it is {given!r})"
                problems.append(f"{variable.name} {error}{shown}")
                values[variable.field] = None
        for name in ("api_tokens", "allowed_origins", "trusted_proxies", "webhook_secrets"):
            values[name] = values[name] or ()
        values["webhook_allow"] = values["webhook_allow"] or Allowed()
        problems += _combined(values, needs_token=needs_token)
        if problems:
            raise WrongSettings(problems)
        return cls(**values)


def secret_files(env: Mapping[str, str]) -> list[Path]:
    """The files that secrets are read from, which may change while a gateway runs."""
    named = [env.get(variable.file, "").strip() for variable in VARIABLES if variable.file]
    return [Path(name) for name in named if name]


def _combined(values: Mapping[str, Any], *, needs_token: bool) -> list[str]:
    """What no single variable shows."""
    problems = []
    if needs_token and not values["api_tokens"]:
        problems.append(
            "GATEWAY_API_TOKENS is not set; there is no default secret: "
            'make one with `python3 -c "import secrets; print(secrets.token_urlsafe(32))"`'
        )
    if values["stt_engine"] == "gladia" and not values["gladia_api_key"]:
        problems.append("GATEWAY_STT_ENGINE is gladia, but GLADIA_API_KEY is not set")
    if values["blob_url"] == "vercel:" and not values["blob_token"]:
        problems.append("GATEWAY_BLOB_URL is vercel:, but BLOB_READ_WRITE_TOKEN is not set")
    if bool(values["s3_key_id"]) != bool(values["s3_secret"]):
        problems.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together; set both or neither")
    keys, secrets = lines(values["livekit_api_key"]), lines(values["livekit_api_secret"])
    if values["livekit_url"] and not (keys and secrets):
        problems.append("LIVEKIT_URL needs LIVEKIT_API_KEY and LIVEKIT_API_SECRET as well")
    elif keys and secrets and len(keys) != len(secrets):
        problems.append(
            "LIVEKIT_API_KEY and LIVEKIT_API_SECRET belong together line by line, "
            f"but have {len(keys)} and {len(secrets)} lines"
        )
    if bool(values["webhook_url"]) != bool(values["webhook_secrets"]):
        problems.append("GATEWAY_WEBHOOK_URL and GATEWAY_WEBHOOK_SECRET belong together; set both or neither")
    if values["webhook_url"]:
        try:
            check_url(values["webhook_url"], values["webhook_allow"])
        except ValueError as error:
            problems.append(f"GATEWAY_WEBHOOK_URL {error}")
    if values["analysis_url"] and not values["analysis_model"]:
        problems.append("GATEWAY_ANALYSIS_URL needs GATEWAY_ANALYSIS_MODEL as well")
    return problems


def doubts(settings: Settings, env: Mapping[str, str]) -> list[str]:
    """What is allowed but probably not meant; logged once at start."""
    found = []
    if any(len(token) < _SECRET_LENGTH for token in settings.api_tokens):
        found.append(
            f"a token in GATEWAY_API_TOKENS is shorter than {_SECRET_LENGTH} characters: guests' passes are signed "
            "with it, and from any of these a short token is found by trying; `openssl rand -hex 32` makes good ones"
        )
    if any(len(secret) < _SECRET_LENGTH for secret in (settings.livekit_api_secret or "").split()):
        found.append(
            f"LIVEKIT_API_SECRET is shorter than {_SECRET_LENGTH} characters: room tokens are signed with it, and from "
            "any of these a short secret is found by trying"
        )
    if (settings.public_url or "").startswith("https:") and not settings.trusted_proxies:
        found.append(
            "GATEWAY_PUBLIC_URL is https, so a proxy stands in front, but GATEWAY_TRUSTED_PROXIES is not set: all "
            f"watchers count as one address, and more than {settings.max_watchers_per_address} are refused"
        )
    if (settings.analysis_key or settings.analysis_model) and not settings.analysis_url:
        found.append("GATEWAY_ANALYSIS_URL is not set, so sessions are analysed without a language model")
    if (settings.jwks_url or "").startswith("http:") and urlsplit(settings.jwks_url).hostname not in _LOOPBACK:
        found.append("GATEWAY_JWKS_URL is not https: an attacker who can change its answers can sign in as any user")
    if settings.join_starts == "livekit" and not (settings.livekit_url or settings.ws_server_url):
        found.append("GATEWAY_JOIN_STARTS is livekit, but LIVEKIT_URL is not set: joins begin no transcription")
    known = {variable.name for variable in VARIABLES} | {"GATEWAY_URL"}
    known |= {variable.file for variable in VARIABLES if variable.file}
    found += [
        f"{name} is not a setting of this version and has no effect; docs/settings.md lists them"
        for name in sorted(env)
        if name.startswith("GATEWAY_") and name not in known
    ]
    return found
