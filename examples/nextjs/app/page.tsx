import { randomBytes } from 'node:crypto';
import Link from 'next/link';
import { redirect } from 'next/navigation';
import { prisma } from '../lib/db';
import { user } from '../lib/session';

export const dynamic = 'force-dynamic';

async function create(form: FormData) {
  'use server';
  const space = { connectOrCreate: { where: { id: user.spaceId }, create: { id: user.spaceId } } };
  const title = String(form.get('title') || 'Untitled');
  const { slug } = await prisma.videoSession.create({
    data: { slug: randomBytes(6).toString('base64url'), title, createdByUserId: user.id, space },
  });
  redirect(`/rooms/${slug}`);
}

export default async function Home() {
  const sessions = await prisma.videoSession.findMany({ where: { spaceId: user.spaceId }, orderBy: { createdAt: 'desc' }, take: 20 });
  return (
    <main>
      <h1>Sessions</h1>
      <form action={create}>
        <input name="title" placeholder="Title" aria-label="Title" /> <button>Create</button>
      </form>
      <ul>
        {sessions.map(({ slug, title, status }) => (
          <li key={slug}>
            <Link href={`/rooms/${slug}`}>{title}</Link> {status.toLowerCase()}
          </li>
        ))}
      </ul>
    </main>
  );
}
