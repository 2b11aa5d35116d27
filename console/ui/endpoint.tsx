import styles from './endpoint.module.css';
import { splitUrl, visibleLine } from './visible-text.ts';

/** An endpoint's URL as text: the host stands out, in punycode, so that look-alike letters are visible. */
export function Endpoint({ url }: { readonly url: string }) {
  const parts = splitUrl(url);
  if (parts === undefined) return <span className={styles.url}>{visibleLine(url)}</span>;
  const isPlain = parts.scheme !== 'https:';
  return (
    <span className={styles.url} title={visibleLine(url)}>
      {isPlain && <span className={styles.scheme}>{parts.scheme}//</span>}
      {parts.host}
      <span className={styles.rest}>{visibleLine(parts.path === '/' ? '' : parts.path)}</span>
    </span>
  );
}
