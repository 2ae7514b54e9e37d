// What so many rooms need. The same arithmetic as bench/scaling.py, on its measured figures, with the expected number of
// replicas that show a session in place of its simulation (a test compares the two).

/** Measured; bench/scaling.py says where each comes from. CPU in ms and bytes of a session-second. */
export const FIGURES = {
  streamMs: 3.9, // a stream over TLS with ten watchers
  share: 0.6, // of a core that a replica is filled to
  finals: 0.33,
  statements: 0.27,
  replicaStatements: 3.5,
  finalMs: 1.1,
  databaseMs: 0.25,
  walFinal: 1900,
  wal: 350,
  replicaMs: 1.5,
  publishUs: 6,
  deliverUs: 5,
  news: 3.1,
  newsBytes: 590,
  receiveMs: 0.75,
  tellMs: 0.9,
  rowBytes: 1100, // of a final with its words and indexes, kept
  connections: 9, // of a replica
  turnS: 8, // assumed: how long somebody speaks at a time
  idleS: 60, // GATEWAY_STT_IDLE_S
  aroundS: 0.7, // sent before and after each turn
};

/** Replicas, besides the owner, that show a session. `hashed`: share of watchers that a hash of the session places. */
export function shownElsewhere(replicas, watchers, hashed) {
  const chance = (1 - hashed) / replicas;
  const other = 1 - (1 - chance) ** watchers;
  const home = 1 - (1 - hashed - chance) ** watchers;
  const homeIsOwner = 1 / replicas;
  return homeIsOwner * (replicas - 1) * other + (1 - homeIsOwner) * (home + (replicas - 2) * other);
}

/** Share of the time in which a speaker holds a session at the provider: while speaking, and until the idle time is over. */
export function placeShare(talk, figures = FIGURES) {
  if (talk <= 0 || talk >= 1) return talk <= 0 ? 0 : 1;
  const silence = (figures.turnS * (1 - talk)) / talk;
  return 1 - (1 - talk) * Math.exp(-figures.idleS / silence);
}

/**
 * @param asked rooms, speakers (of a room), talk (share of the time in which each of them speaks), watchers (of a
 *   room), hashed, hours (a month), price (USD a minute)
 */
export function need(asked, figures = FIGURES) {
  const f = figures;
  const { rooms, speakers, talk, watchers, hashed, hours, price } = asked;
  const streams = rooms * speakers;
  // A replica's work is by what is said; a quiet stream costs it a tenth.
  const streamMs = f.streamMs * (talk + 0.1 * (1 - talk));
  const busy = Math.min(speakers * talk, speakers); // streams that speak at a time, in a room
  const spoken = rooms * busy;
  let replicas = 2;
  let elsewhere = 0;
  for (let round = 0; round < 8; round += 1) {
    const roomMs = speakers * streamMs + busy * (f.tellMs + elsewhere * f.receiveMs);
    replicas = Math.max(Math.ceil((rooms * roomMs) / (f.share * 1000)), 2);
    elsewhere = shownElsewhere(replicas, watchers, hashed);
  }
  const publishes = spoken * f.news * Math.min(elsewhere, 1);
  const places = streams * placeShare(talk, f);
  const sentShare = Math.min((talk * (f.turnS + f.aroundS)) / f.turnS, 1);
  const heardMinutes = streams * hours * 60;
  return {
    replicas,
    elsewhere,
    tracks: streams,
    // Who speaks is chance: three standard deviations above the mean are seldom passed.
    places: Math.min(Math.ceil(places + 3 * Math.sqrt(places * (1 - placeShare(talk, f)))), streams),
    statements: spoken * (f.finals + f.statements) + replicas * f.replicaStatements,
    databaseCores: (spoken * (f.finals * f.finalMs + f.databaseMs) + replicas * f.replicaMs) / 1000,
    walMB: (spoken * (f.finals * f.walFinal + f.wal)) / 1e6,
    gigabytesAMonth: (spoken * hours * 3600 * f.finals * f.rowBytes) / 1e9,
    connections: replicas * f.connections,
    redisCores: (publishes * (f.publishUs + f.deliverUs * elsewhere)) / 1e6,
    redisGbits: (publishes * f.newsBytes * elsewhere * 8) / 1e9,
    moneyAMonth: heardMinutes * sentShare * price,
    savedAMonth: heardMinutes * (1 - sentShare) * price,
  };
}
