import { createHmac } from 'node:crypto';
import { Gateway } from '@transcription-gateway/client/server';

export const gateway = new Gateway({ url: process.env.GATEWAY_URL ?? 'http://localhost:8080', token: () => process.env.GATEWAY_TOKEN ?? '' });

/** What a browser shows to the gateway: good for one space and ten minutes. A room's LiveKit token would do as well. */
export function userToken(userId: string, spaceId: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub: userId, spaces: [spaceId], exp: Math.floor(Date.now() / 1000) + 600 };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', process.env.GATEWAY_JWT_SECRET ?? '').update(signed).digest('base64url')}`;
}
