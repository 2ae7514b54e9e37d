import type { ReactNode } from 'react';
import '@transcription-gateway/client/captions.css';
import './app.css';

export const metadata = { title: 'Live captions' };

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
