// Not run: `npm run types` checks the declarations of what is imported by subpaths.
import { Captions, useMicrophone, useTranscript } from '@transcription-gateway/client/react';
import { Gateway, GatewayError } from '@transcription-gateway/client/server';
import { WebhookError, verifyWebhook } from '@transcription-gateway/client/webhooks';
import { TranscriptStream } from '@transcription-gateway/client';

export function Page({ slug, token }: { slug: string; token?: string }) {
  const transcript = useTranscript(slug, { url: '/', token, keep: 100 });
  const { start, muted, setMuted, state, error } = useMicrophone(slug, { url: '/', token: async () => 'token' });
  const last: number | undefined = transcript.finals.at(-1)?.seq;
  // @ts-expect-error: a value, not to be changed
  transcript.finals.push();
  void [last, start, state, error?.kind, () => setMuted(!muted)];
  const german: string | undefined = useTranscript(slug, { url: '/', token, language: 'de' }).finals[0]?.translations?.de;
  void german;
  return <Captions transcript={transcript} language="de" lines={3} columns={32} className="large" style={{ color: 'red' }} />;
}

const gateway = new Gateway({ url: new URL('https://captions.example.org'), token: () => 'token' });
export async function run(request: Request) {
  const started = await gateway.call('POST /api/transcription/start', { body: { sessionSlug: 'abc12345', source: 'rtmp' } });
  const id: string = started.transcriptionId;
  const { transcriptions } = await gateway.call('GET /api/transcription');
  const text = await gateway.call('GET /api/sessions/{slug}/transcript', { path: { slug: 'a' }, query: { format: 'vtt' } });
  // @ts-expect-error: a slug is needed
  await gateway.call('GET /api/transcription/{slug}', { path: {} });
  // @ts-expect-error: so is the path
  await gateway.call('GET /api/transcription/{slug}');
  // @ts-expect-error: there is no such operation
  await gateway.call('GET /api/nothing');
  // @ts-expect-error: there is no such source
  await gateway.call('POST /api/transcription/start', { body: { sessionSlug: 'a', source: 'tape' } });
  try {
    const event = await verifyWebhook<{ finalsComplete: boolean }>(await request.text(), request.headers, ['whsec_a', 'whsec_b']);
    void (event.data.finalsComplete satisfies boolean);
  } catch (error) {
    if (error instanceof WebhookError) return new Response(error.kind satisfies string, { status: 400 });
    if (error instanceof GatewayError) return new Response(error.problem.hint, { status: error.status });
  }
  return Response.json([id, transcriptions.length, text, TranscriptStream.name]);
}
