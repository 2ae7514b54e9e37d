'use client';
import { Captions, useTranscript } from '@transcription-gateway/client/react';
import { token } from './actions';

export function Live({ slug, url }: { slug: string; url: string }) {
  const transcript = useTranscript(slug, { url, token: () => token(slug) });
  return (
    <>
      <div className="stage">
        <Captions transcript={transcript} />
      </div>
      <p role="status">
        {transcript.error?.message ?? `${transcript.connection}, ${transcript.state}, ${transcript.finals.length} finals`}
      </p>
    </>
  );
}
