// Before anything is drawn, so that no page flashes white: what theme.js does later on. No module, for those wait.
try {
  const theme = localStorage.getItem('gateway.theme') || 'system';
  const more = theme === 'system' && matchMedia('(prefers-contrast: more)').matches;
  document.documentElement.dataset.theme = more ? 'contrast' : theme;
  document.documentElement.style.setProperty('--scale', Number(localStorage.getItem('gateway.size')) || 1);
} catch { /* a browser that keeps nothing shows what it likes */ }
