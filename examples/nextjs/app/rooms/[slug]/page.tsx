import { notFound } from 'next/navigation';
import { prisma } from '../../../lib/db';
import { user } from '../../../lib/session';
import { Controls } from './controls';
import { Live } from './live';

export default async function Room({ params }: { params: Promise<{ slug: string }> }) {
  const { slug } = await params;
  const session = await prisma.videoSession.findFirst({ where: { slug, spaceId: user.spaceId }, include: { analysis: true } });
  if (!session) notFound();
  return (
    <main>
      <h1>{session.title}</h1>
      <Live slug={slug} url={process.env.GATEWAY_PUBLIC_URL ?? 'http://localhost:8080'} />
      <Controls slug={slug} />
      {session.analysis?.summary && <p>{session.analysis.summary}</p>}
    </main>
  );
}
