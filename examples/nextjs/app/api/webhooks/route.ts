import { revalidatePath } from 'next/cache';
import { WebhookError, verifyWebhook } from '@transcription-gateway/client/webhooks';
import { prisma } from '../../../lib/db';

/** The gateway says what happened. A delivery may come twice, so what is done here may be done twice. */
export async function POST(request: Request) {
  const secrets = (process.env.GATEWAY_WEBHOOK_SECRET ?? '').split(',');
  try {
    const { type, data } = await verifyWebhook(await request.text(), request.headers, secrets);
    if (type === 'session.ended' && data.sessionId) {
      // The gateway takes every PENDING analysis.
      await prisma.sessionAnalysis.upsert({ where: { sessionId: data.sessionId }, create: { sessionId: data.sessionId }, update: {} });
    }
    if (data.sessionSlug) revalidatePath(`/rooms/${data.sessionSlug}`);
    return new Response(null, { status: 204 });
  } catch (error) {
    if (error instanceof WebhookError) return new Response(error.message, { status: 400 });
    throw error;
  }
}
