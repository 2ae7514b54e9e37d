'use client';
import { useActionState } from 'react';
import { start, stop } from './actions';

export function Controls({ slug }: { slug: string }) {
  const [publishTo, begin, isBeginning] = useActionState(() => start(slug), null);
  const [, end, isEnding] = useActionState(() => stop(slug), null);
  return (
    <form>
      <button formAction={begin} disabled={isBeginning}>Start</button> <button formAction={end} disabled={isEnding}>Stop</button>
      {publishTo && <p>Publish to <code>{publishTo}</code></p>}
    </form>
  );
}
