'use server';
import { prisma } from '../../../lib/db';
import { gateway, userToken } from '../../../lib/gateway';
import { user } from '../../../lib/session';

/** The session, if the user may see it. */
async function seen(slug: string) {
  return prisma.videoSession.findFirstOrThrow({ where: { slug, spaceId: user.spaceId } });
}

/** A fresh one for each connection of the page. */
export async function token(slug: string) {
  return userToken(user.id, (await seen(slug)).spaceId);
}

/** Where to publish. */
export async function start(slug: string) {
  const { id: sessionId } = await seen(slug);
  const body = { sessionId, sessionSlug: slug, source: 'rtmp', language: 'en' } as const;
  const { ingest } = await gateway.call('POST /api/transcription/start', { body });
  return ingest?.rtmpUrl ?? null;
}

export async function stop(slug: string) {
  await seen(slug);
  await gateway.call('POST /api/transcription/stop', { body: { sessionSlug: slug } });
  return null;
}
