/** What the API takes and answers. Made from its OpenAPI document by tools/js_api.py: do not edit. */

export interface Schemas {
  AnalysisDoneData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    method: string | null;
    reason: string | null;
  };
  AnalysisFailedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    method: string | null;
    reason: string | null;
  };
  /** `method`: `model`, or `extractive` when no language model is configured; null until it is done. `reason`: why the last attempt failed. `attempts`: since it was made, or since the last retry. */
  AnalysisView: {
    sessionSlug: string;
    status: 'DONE' | 'FAILED' | 'PENDING' | 'RUNNING';
    method: 'extractive' | 'model' | null;
    summary: string | null;
    tasks: Array<Schemas['Task']>;
    risks: Array<Schemas['Risk']>;
    attempts: number;
    /** ISO 8601, UTC, milliseconds, Z */
    createdAt: string;
    /** ISO 8601, UTC, milliseconds, Z */
    updatedAt: string;
    reason?: string | null;
  };
  /** Newest first. `nextCursor` is null on the last page. */
  AuditPage: {
    entries: Array<Schemas['DeedView']>;
    nextCursor: string | null;
  };
  /** What the provider bills, beside what was sent; the sums are over sessions that both sides have counted. `open` sessions go on; `unbilled` ones are over, and their bill has not been told, yet. */
  BillingView: {
    sentSeconds: number;
    resentSeconds: number;
    billedSeconds: number;
    differencePercent: number | null;
    open: number;
    unbilled: number;
    providerSessions: Array<Schemas['ProviderSessionView']>;
  };
  /** Absent: as before. `languages: []` lets the provider detect the language. `participants`: by identity, also those who are not there yet; null forgets what was asked for one. */
  ChangeBody: {
    language?: string | null;
    languages?: Array<string> | null;
    customVocabulary?: Array<string | Schemas['VocabularyWord']> | null;
    translateTo?: string | Array<string> | null;
    participants?: Record<string, Schemas['PersonalBody'] | null>;
  };
  /** `kind`: service, user, guest, room. `who`: a service token's fingerprint, a user's id, an identity. */
  DeedView: {
    id: string;
    /** ISO 8601, UTC, milliseconds, Z */
    at: string;
    kind: string;
    who: string;
    what: string;
    sessionSlug: string | null;
    subject: string | null;
    address: string;
  };
  Deleted: {
    success?: true;
  };
  /** Newest first. `nextCursor` is null on the last page. */
  DeliveryPage: {
    deliveries: Array<Schemas['DeliveryView']>;
    nextCursor: string | null;
  };
  /** `eventId` is the `webhook-id` that the receiver sees. `body`: what is sent. `error`: of the last attempt. */
  DeliveryView: {
    id: string;
    eventId: string;
    type: string;
    sessionId: string | null;
    /** ISO 8601, UTC, milliseconds, Z */
    timestamp: string;
    status: 'delivered' | 'failed' | 'pending';
    attempts: number;
    /** ISO 8601, UTC, milliseconds, Z */
    createdAt: string;
    nextAttemptAt: string | null;
    settledAt: string | null;
    responseStatus: number | null;
    error: string | null;
    body: unknown;
  };
  /** The whole; `segments` are in spoken order. */
  Document: {
    format: string;
    sessionId: string;
    sessionSlug: string;
    title: string | null;
    spaceId: string;
    createdByUserId: string | null;
    status: string;
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    generatedAt: string;
    epoch: string | null;
    origin: string | null;
    lastSeq: number;
    finalsComplete: boolean | null;
    participants: Array<Schemas['Participant']>;
    segments: Array<Schemas['Segment']>;
  };
  Ended: {
    status?: 'ok';
  };
  /** As in the stream. `startMs` and `endMs` count from the start of the session's first transcription. */
  FinalView: {
    seq: number;
    utteranceId: string;
    text: string;
    language: string | null;
    isFinal: boolean;
    participantIdentity: string;
    participantName: string | null;
    /** ISO 8601, UTC, milliseconds, Z */
    startedAt: string;
    /** ISO 8601, UTC, milliseconds, Z */
    endedAt: string;
    startMs: number;
    endMs: number;
    confidence: number;
    words: Array<Schemas['WordView']>;
  };
  Health: {
    status: 'ok';
  };
  HealthView: {
    status: 'degraded' | 'ok';
    reasons: Array<string>;
  };
  /** A final. `/s/{sessionSlug}#t=MINUTES:SECONDS` of `startMs` is its moment on the session's page. */
  HitView: {
    sessionSlug: string;
    title: string | null;
    seq: number;
    participantIdentity: string;
    participantName: string | null;
    language: string | null;
    startedAt: string | null;
    startMs: number;
    endMs: number;
    text: string;
    marks: Array<Schemas['MarkView']>;
  };
  /** Without `identity` the next in line: role HOST first, then the longest present, never the one who is host now. */
  HostBody: {
    identity?: string | null;
  };
  HostView: {
    participantIdentity: string;
    participantName: string | null;
  };
  /** `pending`: identities of those whose provider session does not have it yet; it begins at their next pause. */
  InForceView: {
    transcriptionId: string;
    sessionSlug: string;
    state: string;
    languages: Array<string>;
    translateTo: Array<string>;
    customVocabulary: Array<string | Schemas['VocabularyWord']>;
    participants: Record<string, Schemas['PersonalView']>;
    paused: Array<string>;
    pending: Array<string>;
    warnings?: Array<string>;
  };
  /** `rtmpUrl` has the stream key at its end; encoders with two fields take `rtmp://HOST:PORT/live` and the key. */
  IngestView: {
    rtmpUrl?: string | null;
    streamKey?: string | null;
    websocketUrl?: string | null;
  };
  /** `identity`: needed unless the credential says it. `userId`: whose participant it is, for the app to say. */
  JoinBody: {
    identity?: string | null;
    name?: string | null;
    role?: 'GUEST' | 'HOST' | null;
    userId?: string | null;
    joinToken?: string | null;
  };
  /** Told this once. `joinTokenMadeAt`: as in `SessionView`. */
  JoinTokenView: {
    joinToken: string;
    /** ISO 8601, UTC, milliseconds, Z */
    joinTokenMadeAt: string;
  };
  LeaveBody: {
    identity?: string | null;
  };
  /** It ended the transcription, or refused a start: then `transcriptionId` is null. `reason` says which limit. */
  LimitReachedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string | null;
    reason: string | null;
  };
  /** Minutes of audio; 0 = no limit. */
  LimitsView: {
    transcription: boolean;
    sessionMinutes: number;
    userMinutesPerDay: number;
    spaceMinutesPerDay: number;
  };
  /** `text.slice(start, end)` in JavaScript: positions are UTF-16 units. */
  MarkView: {
    start: number;
    end: number;
  };
  /** Without `spaceId` in the user's active space. With `requireJoinToken` guests need more than the slug. */
  NewSession: {
    title?: string | null;
    spaceId?: string | null;
    requireJoinToken?: boolean;
  };
  Participant: {
    participantId: string;
    identity: string;
    name: string | null;
    role: string;
    userId: string | null;
    joinedAt: string;
    leftAt: string | null;
  };
  ParticipantJoinedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    participantIdentity: string;
    participantName: string | null;
    userId: string | null;
    role: 'GUEST' | 'HOST';
  };
  ParticipantLeftData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    participantIdentity: string;
    participantName: string | null;
    userId: string | null;
    role: 'GUEST' | 'HOST';
  };
  /** Who is there, the longest present first; with `all=1` also those who have left, `leftAt` says when. */
  ParticipantList: {
    participants: Array<Schemas['ParticipantView']>;
  };
  ParticipantView: {
    id: string;
    videoSessionId: string;
    userId: string | null;
    identity: string;
    name: string | null;
    role: string;
    /** ISO 8601, UTC, milliseconds, Z */
    joinedAt: string;
    leftAt: string | null;
  };
  /** `state`: `paused` when nobody is heard. `paused`: identities of those who are paused by themselves. */
  PauseAnswer: {
    state: string;
    paused: Array<string>;
  };
  /** Without `participantIdentity` everybody. */
  PauseBody: {
    participantIdentity?: string | null;
  };
  /** `everybody`: nobody is heard. `participants`: who is paused by themselves, or has opted out in the room. */
  PausedView: {
    everybody: boolean;
    participants: Array<string>;
  };
  /** What is asked for one participant. `language` and `languages` add up. Absent: as before, at a start as for everybody; null: as for everybody. `customVocabulary` is added to everybody's. */
  PersonalBody: {
    language?: string | null;
    languages?: Array<string> | null;
    customVocabulary?: Array<string | Schemas['VocabularyWord']> | null;
    translateTo?: string | Array<string> | null;
  };
  /** null: as for everybody. */
  PersonalView: {
    languages: Array<string> | null;
    translateTo: Array<string> | null;
    customVocabulary: Array<string | Schemas['VocabularyWord']>;
  };
  /** RFC 9457. `type` is `about:blank`: the title and the status say what it is. */
  Problem: {
    type: string;
    title: string;
    status: number;
    detail: string;
    hint?: string;
  };
  /** One session at the provider, in seconds of audio. `resentSeconds` is part of `sentSeconds`. `billedSeconds` is null until the provider told it; `difference` is billed minus sent, null while it cannot be told. */
  ProviderSessionView: {
    id: string;
    participantIdentity: string;
    /** ISO 8601, UTC, milliseconds, Z */
    openedAt: string;
    closedAt: string | null;
    outcome: string | null;
    sentSeconds: number;
    resentSeconds: number;
    billedSeconds: number | null;
    difference: number | null;
  };
  /** `full` is there, and true, while no further transcription begins here; all else goes on. */
  Ready: {
    status: 'not ready' | 'ready';
    engine: string;
    reasons: Array<string>;
    full?: true;
    notes?: Array<string>;
  };
  /** What the voice-activity gate spared, all participants together. Money at the price of a minute, in USD. `secondsHeard`: audio that came in. `secondsSaved`: what of it was not sent, because it was silence. `secondsSaveable`: what it saves when it is on, so that `shadow` shows what `on` would bring. */
  ReceiptView: {
    gate: 'off' | 'on' | 'shadow';
    secondsHeard: number;
    secondsSpeech: number;
    secondsSent: number;
    secondsSaved: number;
    costSaved: number;
    secondsSaveable: number;
    costSaveable: number;
  };
  ReplayAnswer: {
    replayed: number;
  };
  /** Instants (ISO 8601); `to` is exclusive, by default now. */
  ReplayBody: {
    from: string;
    to?: string | null;
    events?: Array<string> | null;
  };
  /** Those that beat, the longest running first. */
  ReplicaList: {
    replicas: Array<Schemas['ReplicaView']>;
  };
  /** `seenAt`: its last beat, by the database's clock. `load`: tracks as a share of what it takes, 1 = full. `url`: where the others reach it; null: nowhere, so that it is asked nothing. `state`: `full` and `draining` ones begin no transcription. */
  ReplicaView: {
    id: string;
    version: string;
    url: string | null;
    /** ISO 8601, UTC, milliseconds, Z */
    startedAt: string;
    /** ISO 8601, UTC, milliseconds, Z */
    seenAt: string;
    state: 'draining' | 'full' | 'ready';
    sessions: number;
    tracks: number;
    watchers: number;
    load: number;
  };
  /** `totals` are of everything asked for. `nextCursor` is null on the last page. */
  ReportPage: {
    rows: Array<Schemas['ReportRow']>;
    totals: Schemas['ReportTotals'];
    nextCursor: string | null;
  };
  /** What the rows of a group do not share is null. `deleted`: sessions without their names, which are gone. */
  ReportRow: {
    day: string | null;
    month: string | null;
    spaceId: string | null;
    userId: string | null;
    sessionId: string | null;
    sessionSlug: string | null;
    title: string | null;
    participantIdentity: string | null;
    participantName: string | null;
    tags: Array<string> | null;
    startedAt: string | null;
    endedAt: string | null;
    deleted: boolean;
    usageRows: number;
    durationSeconds: number;
    durationMinutes: number;
    totalCost: number;
    billedSeconds: number | null;
    costSaved: number;
  };
  /** `usageRows`: participants of transcriptions. `billedSeconds` is null while none of them is billed. */
  ReportTotals: {
    usageRows: number;
    durationSeconds: number;
    durationMinutes: number;
    totalCost: number;
    billedSeconds: number | null;
    costSaved: number;
  };
  /** Something that may go wrong. `mitigation`: what was said to do about it. */
  Risk: {
    title: string;
    severity: 'high' | 'low' | 'medium';
    mitigation?: string | null;
    quote?: string | null;
    atMs?: number | null;
  };
  /** What a LiveKit client needs to join; `room` is the slug. */
  RoomPassView: {
    token: string;
    url: string;
    room: string;
  };
  /** Newest first. `nextCursor` is null on the last page. `complete` is false for a while after the update that brought the search, while earlier finals are made ready for it. */
  SearchPage: {
    hits: Array<Schemas['HitView']>;
    nextCursor: string | null;
    complete: boolean;
  };
  /** One final. `words` is empty where the provider gave none, or where the text was changed since. */
  Segment: {
    seq: number | null;
    utteranceId: string;
    participantId: string | null;
    participantIdentity: string | null;
    participantName: string | null;
    text: string;
    language: string | null;
    startedAt: string;
    endedAt: string | null;
    startMs: number;
    endMs: number;
    confidence: number | null;
    words: Array<Schemas['Word']>;
    translations?: Record<string, string>;
  };
  SegmentBody: {
    utteranceId: string;
    text: string;
    isFinal: boolean;
    startedAt: string;
    endedAt?: string | null;
    participantIdentity?: string | null;
    language?: string | null;
  };
  /** Finals, in spoken order. */
  SegmentList: {
    segments: Array<Schemas['SegmentView']>;
  };
  SegmentView: {
    utteranceId: string;
    text: string;
    language: string | null;
    isFinal: boolean;
    /** ISO 8601, UTC, milliseconds, Z */
    startedAt: string;
    endedAt: string | null;
    participantIdentity: string | null;
    participantName: string | null;
  };
  /** `guestMinutes`: whether guests who were in it may read it once it is over; they may unless it is said. */
  SessionChange: {
    guestMinutes: boolean;
  };
  /** `joinToken` is there if it was asked for, and told this once; `joinTokenMadeAt` as in `SessionView`. */
  SessionCreated: {
    slug: string;
    joinToken?: string | null;
    joinTokenMadeAt?: string | null;
  };
  SessionCreatedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    title: string | null;
    createdByUserId: string | null;
  };
  /** EXPIRED: nobody ever joined. DELETED: it was deleted before its end. */
  SessionEndedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    status: 'DELETED' | 'ENDED' | 'EXPIRED';
    startedAt: string | null;
    endedAt: string | null;
  };
  /** Newest first, without the expired. */
  SessionList: {
    sessions: Array<Schemas['SessionView']>;
  };
  /** `source`: by default what a join begins with (GATEWAY_JOIN_STARTS), else livekit. Without any option those of the session's last transcription from the same source hold; with one, the others are the defaults. */
  SessionStartBody: {
    language?: string | null;
    languages?: Array<string>;
    codeSwitching?: boolean;
    customVocabulary?: Array<string | Schemas['VocabularyWord']>;
    translateTo?: string | Array<string> | null;
    preset?: 'meeting' | 'subtitles' | null;
    participantNames?: boolean;
    vocabularyIntensity?: number | null;
    customSpelling?: Record<string, Array<string>>;
    translation?: Schemas['TranslationStyle'] | null;
    namedEntities?: boolean;
    sentiment?: boolean;
    endpointing?: number | null;
    maximumDurationWithoutEndpointing?: number | null;
    speechThreshold?: number | null;
    audioEnhancer?: boolean | null;
    model?: string | null;
    region?: 'eu-west' | 'us-west' | null;
    costCapUsd?: number | null;
    participantIdentity?: string | null;
    participantName?: string | null;
    participants?: Record<string, Schemas['PersonalBody']>;
    tags?: Array<string>;
    source?: 'livekit' | 'rtmp' | 'websocket' | null;
  };
  /** The first participant has joined. */
  SessionStartedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
  };
  /** `status`: CREATED, LIVE, ENDED, EXPIRED. `requireJoinToken`: guests need more than the slug to join. `joinTokenMadeAt`: when the one was made that is good now; null when it is not known, or there is none. `guestMinutes`: guests who were in it may read it once it is over. */
  SessionView: {
    id: string;
    slug: string;
    title: string | null;
    createdByUserId: string | null;
    spaceId: string;
    status: string;
    /** ISO 8601, UTC, milliseconds, Z */
    createdAt: string;
    startedAt: string | null;
    endedAt: string | null;
    lastActivityAt: string | null;
    rawTranscriptBlobUrl: string | null;
    rawTranscriptSizeBytes: number | null;
    rawTranscriptReadyAt: string | null;
    requireJoinToken: boolean;
    guestMinutes: boolean;
    joinTokenMadeAt: string | null;
  };
  /** A space's own limits, minutes of audio; 0 = no limit, null or absent = as the gateway's settings say. */
  SpaceLimitsBody: {
    transcription?: boolean | null;
    sessionMinutes?: number | null;
    userMinutesPerDay?: number | null;
    spaceMinutesPerDay?: number | null;
  };
  /** `own`: what differs here; `effective`: what is in force; `minutesToday`: used since midnight UTC. */
  SpaceLimitsView: {
    spaceId: string;
    own: Schemas['SpaceLimitsBody'];
    effective: Schemas['LimitsView'];
    minutesToday: number;
  };
  /** `warnings`: fields of the request that have no effect; absent when there are none. */
  StartAnswer: {
    transcriptionId: string;
    sessionSlug: string;
    state: 'running' | 'starting' | 'stopped' | 'stopping' | 'waiting';
    source: string;
    created: boolean;
    /** ISO 8601, UTC, milliseconds, Z */
    startedAt: string;
    ingest?: Schemas['IngestView'] | null;
    warnings?: Array<string>;
  };
  /** The options of `StartOptions`, of a session named by its slug. */
  StartBody: {
    language?: string | null;
    languages?: Array<string>;
    codeSwitching?: boolean;
    customVocabulary?: Array<string | Schemas['VocabularyWord']>;
    translateTo?: string | Array<string> | null;
    preset?: 'meeting' | 'subtitles' | null;
    participantNames?: boolean;
    vocabularyIntensity?: number | null;
    customSpelling?: Record<string, Array<string>>;
    translation?: Schemas['TranslationStyle'] | null;
    namedEntities?: boolean;
    sentiment?: boolean;
    endpointing?: number | null;
    maximumDurationWithoutEndpointing?: number | null;
    speechThreshold?: number | null;
    audioEnhancer?: boolean | null;
    model?: string | null;
    region?: 'eu-west' | 'us-west' | null;
    costCapUsd?: number | null;
    participantIdentity?: string | null;
    participantName?: string | null;
    participants?: Record<string, Schemas['PersonalBody']>;
    tags?: Array<string>;
    /** the session's slug, also its room name */
    sessionSlug: string;
    sessionId?: string | null;
    source?: 'livekit' | 'rtmp' | 'websocket';
  };
  /** `finalsComplete`: every provider session confirmed its end, so that no final can be missing. */
  StopAnswer: {
    state: 'stopped' | 'stopping';
    finalsComplete?: boolean | null;
    usage?: Schemas['UsageView'] | null;
  };
  StopBody: {
    /** the session's slug, also its room name */
    sessionSlug: string;
    wait?: boolean;
  };
  /** Something to do. `dueDate`: YYYY-MM-DD where it could be told, else as it was said. `quote`: what was said, `atMs` after the session's start. */
  Task: {
    title: string;
    assignee?: string | null;
    dueDate?: string | null;
    quote?: string | null;
    atMs?: number | null;
  };
  /** The newest 200 finals since the replica that runs it has begun; none once it has stopped. `lostAudioSeconds`: as in the usage, kept then. */
  TimelineView: {
    transcriptionId: string;
    sessionSlug: string;
    finals: Array<Schemas['Timing']>;
    lostAudioSeconds?: number;
  };
  /** Of one final, in milliseconds. The hops add up to `end_to_end_ms`. `source_ms`: end of the words → their last chunk has come out of the source. `socket_ms`: → it was written to the provider's socket. `provider_ms`: → the provider's final. `durable_ms`: → in the database, or on disk. `watchers_ms`: → given to the watchers. The first two are null where that chunk is not known; then the third begins at the end of the words. */
  Timing: {
    seq: number;
    utteranceId: string;
    participantIdentity: string;
    sourceMs: number | null;
    socketMs: number | null;
    providerMs: number;
    durableMs: number;
    watchersMs: number;
    endToEndMs: number;
  };
  /** `languages` and `translateTo`: of the provider session that hears it; null before the first. */
  TrackView: {
    participantIdentity: string;
    participantName: string | null;
    provider: string;
    secondsHeard: number;
    secondsSent: number;
    backlogSeconds: number;
    paused: boolean;
    languages: Array<string> | null;
    translateTo: Array<string> | null;
    facts: Record<string, unknown>;
  };
  /** `epoch` names the numbering, null before the first transcription; EPOCH:SEQ is where a stream goes on. `lastSeq`: the newest number, which is how many there are, whatever part is asked for. `translatedTo`: languages that somebody has asked translations into. */
  Transcript: {
    sessionSlug: string;
    epoch: string | null;
    lastSeq: number;
    translatedTo: Array<string>;
    finals: Array<Schemas['FinalView']>;
  };
  /** Where a final is, not what was said: read it at `/api/sessions/{slug}/transcript?since=`. */
  TranscriptFinalData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    seq: number;
    epoch: string;
    utteranceId: string;
    participantIdentity: string;
    startMs: number;
    endMs: number;
    participantName?: string | null;
    language?: string | null;
  };
  /** `documentPath`: of the document at the gateway; told again when it was written anew. */
  TranscriptReadyData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    documentPath: string;
    sizeBytes: number;
  };
  /** Something is wrong, or something else than before; `reasons` say what to do. */
  TranscriptionDegradedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    reasons: Array<string>;
  };
  /** While `database` is unavailable, only those that run on the replica that answers. */
  TranscriptionList: {
    transcriptions: Array<Schemas['TranscriptionView']>;
    database: 'ok' | 'unavailable';
  };
  TranscriptionRecoveredData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    reasons: Array<string>;
  };
  TranscriptionStartedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    source: string;
    tags: Array<string>;
  };
  /** `finalsComplete`: no final can be missing. `finals` is null for a session that was deleted. */
  TranscriptionStoppedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    reason: string | null;
    finalsComplete: boolean;
    finals: number | null;
  };
  /** `tracks`, `health` and `lag` are known only to `replica`, which runs it: empty while `figures` are stored. `watchers` are those on that replica. */
  TranscriptionView: {
    transcriptionId: string;
    sessionSlug: string;
    sessionId: string;
    state: 'running' | 'starting' | 'stopped' | 'stopping' | 'waiting';
    source: string;
    engine: string;
    /** ISO 8601, UTC, milliseconds, Z */
    startedAt: string;
    stoppedAt: string | null;
    reason: string | null;
    finalsComplete: boolean | null;
    finals: number;
    partials: number;
    lastSeq: number;
    watchers: number;
    lostAudioSeconds: number;
    cost: number;
    health: Schemas['HealthView'];
    lag: Record<string, number>;
    tracks: Array<Schemas['TrackView']>;
    database: 'ok' | 'unavailable';
    replica: string | null;
    figures: 'live' | 'stored';
    paused: Schemas['PausedView'];
    languages: Array<string>;
    translateTo: Array<string>;
  };
  /** How the provider translates; what is not said is its own choice. */
  TranslationStyle: {
    model?: 'base' | 'batch' | 'enhanced' | null;
    matchOriginalUtterances?: boolean | null;
    lipsync?: boolean | null;
    contextAdaptation?: boolean | null;
    context?: string | null;
    informal?: boolean | null;
  };
  /** What a transcription has used; nothing is added any more. */
  UsageClosedData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    usageRows: number;
    durationSeconds: number;
    durationMinutes: number;
    totalCost: number;
    tags: Array<string>;
  };
  /** What the provider bills for it. `unbilledSessions`: of which no bill could be had. */
  UsageReconciledData: {
    sessionSlug: string;
    sessionId: string;
    spaceId: string;
    transcriptionId: string;
    billedSeconds: number | null;
    sentSeconds: number;
    providerSessions: number;
    unbilledSessions: number;
  };
  /** `tags`: those of the start. Name and user are null where the app's `Participant` has none. */
  UsageRowView: {
    participantIdentity: string;
    participantName: string | null;
    userId: string | null;
    tags: Array<string>;
    /** ISO 8601, UTC, milliseconds, Z */
    startedAt: string;
    endedAt: string | null;
    durationSeconds: number;
    durationMinutes: number;
    audioChunksSent: number;
    transcriptsReceived: number;
    finalTranscripts: number;
    partialTranscripts: number;
    costPerMinute: number;
    totalCost: number;
    errorsCount: number;
  };
  UsageTotals: {
    durationSeconds: number;
    durationMinutes: number;
    audioChunksSent: number;
    transcriptsReceived: number;
    finalTranscripts: number;
    partialTranscripts: number;
    totalCost: number;
    errorsCount: number;
  };
  /** One row a participant; the totals are their sums. `billing` is null in the answer to a stop: it comes later. `lostAudioSeconds`: audio that was given up unheard, by every replica that has run it. */
  UsageView: {
    transcriptionId: string;
    sessionSlug: string;
    rows: Array<Schemas['UsageRowView']>;
    totals: Schemas['UsageTotals'];
    receipt: Schemas['ReceiptView'];
    billing?: Schemas['BillingView'] | null;
    figures?: 'live' | 'stored';
    lostAudioSeconds?: number;
  };
  /** `words`: as `customVocabulary` of a start. `spelling`: as `customSpelling`. It replaces what was kept. */
  VocabularyBody: {
    words?: Array<string | Schemas['VocabularyWord']>;
    spelling?: Record<string, Array<string>>;
  };
  /** Both empty where the space keeps nothing. */
  VocabularyView: {
    words: Array<string | Schemas['VocabularyWord']>;
    spelling: Record<string, Array<string>>;
  };
  /** A word that the provider is to expect. `intensity`: how readily it is heard; above 0.6 also where it is not. */
  VocabularyWord: {
    value: string;
    intensity?: number | null;
    pronunciations?: Array<string>;
    language?: string | null;
  };
  /** `events`: by default all but `transcript.final`. `spaceId`: only of this space. */
  WebhookBody: {
    url: string;
    events?: Array<string> | null;
    spaceId?: string | null;
    description?: string | null;
  };
  /** What is absent stays. `enabled`: true also takes one back that answered 410, and tries what waits at once. */
  WebhookChange: {
    url?: string;
    events?: Array<string>;
    spaceId?: string | null;
    description?: string | null;
    enabled?: boolean;
  };
  WebhookList: {
    webhooks: Array<Schemas['WebhookView']>;
  };
  WebhookTestData: {
    webhookId: string;
  };
  /** `secret` is shown once, when it is made. `id` is `setting` for the one of GATEWAY_WEBHOOK_URL. */
  WebhookView: {
    id: string;
    url: string;
    events: Array<string>;
    spaceId: string | null;
    description: string | null;
    /** ISO 8601, UTC, milliseconds, Z */
    createdAt: string;
    enabled: boolean;
    disabledReason: string | null;
    secret?: string;
  };
  Word: {
    text: string;
    startMs: number;
    endMs: number;
  };
  WordView: {
    text: string;
    startMs: number;
    endMs: number;
  };
}

/** By method and path. */
export interface Operations {
  /** Who did what, newest first */
  'GET /api/audit': {
    query?: {
      /** a day or an instant (ISO 8601; UTC unless it says otherwise) */
      from?: string;
      /** the same, exclusive */
      to?: string;
      /** only this session's slug */
      session?: string;
      /** nextCursor of the page before */
      cursor?: string;
    };
    answer: Schemas['AuditPage'];
  };
  /** The gateway processes on this database: load, sessions, versions */
  'GET /api/replicas': {
    answer: Schemas['ReplicaList'];
  };
  /** Find what was said, in all sessions that one may see, newest first */
  'GET /api/search': {
    query?: {
      /** words, a "phrase", the beginning of a word with *, -without, one OR another */
      q?: string;
      /** only in the session with this slug */
      session?: string;
      /** only in sessions of this space */
      spaceId?: string;
      /** a day or an instant (ISO 8601; UTC unless it says otherwise) */
      from?: string;
      /** the same, exclusive */
      to?: string;
      /** how many, at most 100 */
      limit?: number;
      /** nextCursor of the page before */
      cursor?: string;
    };
    answer: Schemas['SearchPage'];
  };
  /** Create a session */
  'POST /api/sessions': {
    body: Schemas['NewSession'];
    answer: Schemas['SessionCreated'];
  };
  /** Sessions of a space, newest first */
  'GET /api/sessions': {
    query?: {
      /** default: the user's active space; for a service all spaces */
      spaceId?: string;
      /** how many, at most 1000 */
      limit?: number;
      /** the slug of the last one seen: those that are older */
      before?: string;
    };
    answer: Schemas['SessionList'];
  };
  /** One session */
  'GET /api/sessions/{slug}': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['SessionView'];
  };
  /** Let guests read it once it is over, or not */
  'PATCH /api/sessions/{slug}': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body: Schemas['SessionChange'];
    answer: Schemas['SessionView'];
  };
  /** Delete a session and all that belongs to it; billing records are kept elsewhere */
  'DELETE /api/sessions/{slug}': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['Deleted'];
  };
  /** Summary, tasks and risks of an ended session */
  'GET /api/sessions/{slug}/analysis': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['AnalysisView'];
  };
  /** Start a failed analysis again; for the session's creator and services */
  'POST /api/sessions/{slug}/analysis/retry': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['AnalysisView'];
  };
  /** The whole transcript of a session that has ended, as it is kept in the blob store (docs/transcript-document.schema.json) */
  'GET /api/sessions/{slug}/document': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['Document'];
  };
  /** End a session: its transcription is drained and stopped, its document written, its analysis scheduled; idempotent */
  'POST /api/sessions/{slug}/end': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['Ended'];
  };
  /** A new join token, which guests must show from now on; former ones are good no more */
  'POST /api/sessions/{slug}/join-token': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['JoinTokenView'];
  };
  /** Who is there */
  'GET /api/sessions/{slug}/participants': {
    path: {
      /** the session's slug */
      slug: string;
    };
    query?: {
      /** 1: also those who have left */
      all?: string;
    };
    answer: Schemas['ParticipantList'];
  };
  /** A participant is in the room; the first join makes the session LIVE and begins its transcription */
  'POST /api/sessions/{slug}/participants/join': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body?: Schemas['JoinBody'];
    answer: Schemas['ParticipantView'];
  };
  /** A participant has left the room */
  'POST /api/sessions/{slug}/participants/leave': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body?: Schemas['LeaveBody'];
    answer: Schemas['ParticipantView'];
  };
  /** What was said, as the app's table has it */
  'GET /api/sessions/{slug}/segments': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['SegmentList'];
  };
  /** Add or change one utterance that no transcription of ours has heard; a final is never undone */
  'POST /api/sessions/{slug}/segments': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body: Schemas['SegmentBody'];
    answer: Schemas['SegmentView'];
  };
  /** A LiveKit token for the session's room */
  'GET /api/sessions/{slug}/token': {
    path: {
      /** the session's slug */
      slug: string;
    };
    query?: {
      /** name in the room; needed unless the credential says it */
      identity?: string;
      /** name to be shown */
      name?: string;
      /** for guests, where the session requires it */
      joinToken?: string;
      /** audio: a token for this gateway's own audio and captions, with the audio WebSocket's url; needs no LiveKit server */
      for?: string;
    };
    answer: Schemas['RoomPassView'];
  };
  /** Finals so far, as a file */
  'GET /api/sessions/{slug}/transcript': {
    path: {
      /** the session's slug */
      slug: string;
    };
    query?: {
      /** json (default), vtt, srt or txt */
      format?: 'json' | 'vtt' | 'srt' | 'txt';
      /** only finals after this seq (or EPOCH:SEQ) */
      since?: string;
      /** the last ones before this seq */
      before?: string;
      /** a window with this seq in its middle */
      around?: string;
      /** the same with the final that is being said at this moment: milliseconds, as startMs */
      at?: string;
      /** how many at most; 100 unless it is said, with since all */
      limit?: number;
      /** translations into this language, in place of the text but in JSON */
      lang?: string;
    };
    answer: Schemas['Transcript'] | string;
  };
  /** Make a participant the host of a transcription that is fed by browsers */
  'POST /api/sessions/{slug}/transcription/host': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body?: Schemas['HostBody'];
    answer: Schemas['HostView'];
  };
  /** Start transcribing a session that is live; idempotent */
  'POST /api/sessions/{slug}/transcription/start': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body?: Schemas['SessionStartBody'];
    answer: Schemas['StartAnswer'];
  };
  /** What a space may use, and has used today */
  'GET /api/spaces/{id}/limits': {
    path: {
      /** the space's id */
      id: string;
    };
    answer: Schemas['SpaceLimitsView'];
  };
  /** Give a space limits of its own; running transcriptions notice within seconds */
  'PUT /api/spaces/{id}/limits': {
    path: {
      /** the space's id */
      id: string;
    };
    body: Schemas['SpaceLimitsBody'];
    answer: Schemas['SpaceLimitsView'];
  };
  /** Words and spellings that a space keeps for its transcriptions */
  'GET /api/spaces/{id}/vocabulary': {
    path: {
      /** the space's id */
      id: string;
    };
    answer: Schemas['VocabularyView'];
  };
  /** Replace them; transcriptions that start from now on have them */
  'PUT /api/spaces/{id}/vocabulary': {
    path: {
      /** the space's id */
      id: string;
    };
    body: Schemas['VocabularyBody'];
    answer: Schemas['VocabularyView'];
  };
  /** Every transcription that is not stopped */
  'GET /api/transcription': {
    answer: Schemas['TranscriptionList'];
  };
  /** Start a transcription; idempotent per session */
  'POST /api/transcription/start': {
    body: Schemas['StartBody'];
    answer: Schemas['StartAnswer'];
  };
  /** Drain, then stop; idempotent */
  'POST /api/transcription/stop': {
    body: Schemas['StopBody'];
    answer: Schemas['StopAnswer'];
  };
  /** State, tracks, lag and health of one */
  'GET /api/transcription/{slug}': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['TranscriptionView'];
  };
  /** Change languages, translations and vocabulary while it runs, for everybody or single participants; in force from each speaker's next pause */
  'PATCH /api/transcription/{slug}': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body: Schemas['ChangeBody'];
    answer: Schemas['InForceView'];
  };
  /** Hear nothing of a participant, or of nobody at all, until resumed; idempotent */
  'POST /api/transcription/{slug}/pause': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body?: Schemas['PauseBody'];
    answer: Schemas['PauseAnswer'];
  };
  /** Hear them again; idempotent */
  'POST /api/transcription/{slug}/resume': {
    path: {
      /** the session's slug */
      slug: string;
    };
    body?: Schemas['PauseBody'];
    answer: Schemas['PauseAnswer'];
  };
  /** Where the time of its newest finals went, hop by hop */
  'GET /api/transcription/{slug}/timeline': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['TimelineView'];
  };
  /** Usage rows and totals */
  'GET /api/transcription/{slug}/usage': {
    path: {
      /** the session's slug */
      slug: string;
    };
    answer: Schemas['UsageView'];
  };
  /** What was used and what it costs, over all sessions */
  'GET /api/usage': {
    query?: {
      /** a day or an instant (ISO 8601; UTC unless it says otherwise) */
      from?: string;
      /** the same, exclusive */
      to?: string;
      /** one line each; without it one for each participant and transcription */
      groupBy?: 'day' | 'month' | 'space' | 'user' | 'session';
      /** only this space */
      spaceId?: string;
      /** only what this user said */
      userId?: string;
      /** only transcriptions started with this tag */
      tag?: string;
      /** json (default), or csv: everything, without pages */
      format?: 'json' | 'csv';
      /** nextCursor of the page before */
      cursor?: string;
    };
    answer: Schemas['ReportPage'] | string;
  };
  /** Be told what happens, over HTTP */
  'POST /api/webhooks': {
    body: Schemas['WebhookBody'];
    answer: Schemas['WebhookView'];
  };
  /** Who is told */
  'GET /api/webhooks': {
    answer: Schemas['WebhookList'];
  };
  /** One webhook */
  'GET /api/webhooks/{id}': {
    path: {
      /** the webhook's id */
      id: string;
    };
    answer: Schemas['WebhookView'];
  };
  /** Another address, other events, on or off */
  'PATCH /api/webhooks/{id}': {
    path: {
      /** the webhook's id */
      id: string;
    };
    body: Schemas['WebhookChange'];
    answer: Schemas['WebhookView'];
  };
  /** Tell it nothing more, nor what is still waiting */
  'DELETE /api/webhooks/{id}': {
    path: {
      /** the webhook's id */
      id: string;
    };
    answer: undefined;
  };
  /** What it was told in 30 days, and what is waiting */
  'GET /api/webhooks/{id}/deliveries': {
    path: {
      /** the webhook's id */
      id: string;
    };
    query?: {
      /** only these */
      status?: 'pending' | 'delivered' | 'failed';
      /** nextCursor of the page before */
      cursor?: string;
    };
    answer: Schemas['DeliveryPage'];
  };
  /** Send an event again, under the same id */
  'POST /api/webhooks/{id}/deliveries/{deliveryId}/replay': {
    path: {
      /** the webhook's id */
      id: string;
      /** the id of a delivery that is not pending */
      deliveryId: string;
    };
    answer: Schemas['DeliveryView'];
  };
  /** Send all events of a time again */
  'POST /api/webhooks/{id}/replay': {
    path: {
      /** the webhook's id */
      id: string;
    };
    body: Schemas['ReplayBody'];
    answer: Schemas['ReplayAnswer'];
  };
  /** A new secret; for a day the former one signs as well */
  'POST /api/webhooks/{id}/secret': {
    path: {
      /** the webhook's id */
      id: string;
    };
    answer: Schemas['WebhookView'];
  };
  /** Send it a webhook.test */
  'POST /api/webhooks/{id}/test': {
    path: {
      /** the webhook's id */
      id: string;
    };
    answer: Schemas['DeliveryView'];
  };
  /** The process answers */
  'GET /healthz': {
    answer: Schemas['Health'];
  };
  /** Whether work can be done, with reasons */
  'GET /readyz': {
    answer: Schemas['Ready'];
  };
}
