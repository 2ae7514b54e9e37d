// A night in which much is wrong, as the operator's page shows it.
const troubles = [[], [], ['nobody publishes yet: the stream key has not been used'], ['the connection to the speech provider is being restored (attempt 4)'],
  [], ['finals are 14 s late', 'the database is slow: 212 finals wait'], [], []];
const track = (n) => ({ participantIdentity: `p${n}`, participantName: ['Anna Berg', 'נועה', 'Omar'][n % 3], provider: 'open', secondsHeard: 60 * n });
answers['api/transcription'] = (body) => {
  const more = body.transcriptions.filter(({ sessionSlug }) => sessionSlug);
  more.forEach((one, n) => {
    const reasons = troubles[n % 8];
    Object.assign(one, { state: ['running', 'running', 'starting', 'waiting', 'running', 'running', 'running', 'stopping'][n % 8],
      cost: [0.42, 12.07, 0, 1.3, 148.5, 3, 0.0042, 7][n % 8], watchers: [3, 41, 0, 12, 1204, 2, 0, 9][n % 8], finals: n * 37,
      tracks: Array.from({ length: [2, 5, 0, 1, 14, 3, 1, 2][n % 8] }, (_, at) => track(at)), health: { status: reasons.length ? 'degraded' : 'ok', reasons } });
    if (n === 6) one.paused = { everybody: true, participants: [] };
  });
};
const replica = (id, state, load, sessions, tracks, watchers) => ({ id, state, load, sessions, tracks, watchers, version: '0.6.0', url: 'http://10.0.0.7:8080' });
answers['api/replicas'] = () => ({ replicas: [replica('gateway-7c9f6d5b8-x2k4p', 'ready', 0.42, 9, 22, 1204), replica('gateway-7c9f6d5b8-qq81z', 'full', 1, 14, 48, 310),
  replica('gateway-7c9f6d5b8-m0n2b', 'draining', 0.2, 3, 5, 12), replica('a-host-with-a-long-name.internal.example.org:8080', 'ready', 0.05, 1, 1, 0)] });
