/** Icons of 16 px, drawn with the colour of the text. They always stand beside a word or in a control with a name. */
const PATHS = {
  success: 'M13 5 6.8 11.5 3.5 8.2',
  failure: 'M4.5 4.5l7 7m0-7-7 7',
  waiting: 'M8 4.5V8l2.3 1.6M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z',
  neutral: 'M4 8h8',
  live: 'M8 9.2a1.2 1.2 0 1 0 0-2.4 1.2 1.2 0 0 0 0 2.4ZM4.8 11.2a4.6 4.6 0 0 1 0-6.4m6.4 0a4.6 4.6 0 0 1 0 6.4M2.8 13.2a7.4 7.4 0 0 1 0-10.4m10.4 0a7.4 7.4 0 0 1 0 10.4',
  overview: 'M2.5 13.5h11M4.5 11V7.5M8 11V3.5M11.5 11V6',
  event: 'M8.8 1.8 3.5 9H8l-.8 5.2L12.5 7H8l.8-5.2Z',
  delivery: 'M2.5 8h9m-3.5-3.5L11.5 8 8 11.5M13.5 3v10',
  subscription:
    'M6.7 9.3a2.7 2.7 0 0 0 3.9.1l2-2a2.7 2.7 0 0 0-3.8-3.9L7.6 4.7m1.7 2a2.7 2.7 0 0 0-3.9-.1l-2 2a2.7 2.7 0 0 0 3.8 3.9l1.2-1.2',
  replay: 'M2.5 8a5.5 5.5 0 1 0 1.8-4.1M2.5 2.5v3h3',
  catalogue: 'M3 3.5h10M3 8h10M3 12.5h6',
  rejected: 'M8 5.2v3.6m0 2.2v.1M7.2 2.4 1.9 11.8a1 1 0 0 0 .8 1.5h10.6a1 1 0 0 0 .8-1.5L8.8 2.4a1 1 0 0 0-1.6 0Z',
  key: 'M9.8 9.4A3.9 3.9 0 1 0 6.6 6.2L2.5 10.3v3.2h3.2v-2h2v-1.9l2.1-.2ZM10.5 5.5h0',
  tenants: 'M2.5 13.5v-9l5-2v11m0 0h6v-7h-6M4.8 6.5h.4m-.4 3h.4m4.8 0h1',
  jobs: 'M2.5 4.5h7M2.5 8h5M2.5 11.500h4M9.500 11l1.800 1.800L14 9.500',
  audit: 'M4.500 2.500h7v11h-7zM6.800 5.500h2.400m-2.400 2.500h2.400m-2.400 2.500h1.400',
  erase: 'M3 4.500h10M6.500 4.500v-2h3v2M4.500 4.500l.6 9h5.800l.6-9M6.800 7v4m2.400-4v4',
  copy: 'M6 5.5h6.5a1 1 0 0 1 1 1V13a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1V6.500a1 1 0 0 1 1-1ZM11 3.2V3a1 1 0 0 0-1-1H3.5a1 1 0 0 0-1 1v6.500a1 1 0 0 0 1 1h.2',
  pause: 'M5.500 3.500v9m5-9v9',
  play: 'M5 3.200v9.600L12.800 8 5 3.200Z',
  close: 'M4 4l8 8m0-8-8 8',
  search: 'M10.500 10.500 14 14M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10Z',
  menu: 'M2.500 4.500h11M2.500 8h11M2.500 11.500h11',
  sun: 'M8 10.800a2.800 2.800 0 1 0 0-5.600 2.800 2.800 0 0 0 0 5.600ZM8 1.800v1.400m0 9.600v1.400M1.800 8h1.400m9.600 0h1.400M3.600 3.600l1 1m6.800 6.800 1 1m0-8.800-1 1m-6.800 6.800-1 1',
  moon: 'M13.300 9.600A5.700 5.700 0 0 1 6.400 2.700a5.700 5.700 0 1 0 6.900 6.900Z',
  out: 'M6.500 2.500h-3a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1h3M10.500 11l3-3-3-3m3 3h-7',
  chevron: 'M6 3.500 10.500 8 6 12.500',
  down: 'M3.500 6 8 10.500 12.500 6',
  filter: 'M2.500 3.500h11L9.500 8.500v4l-3-1.500v-2.500l-4-5Z',
  link: 'M9 2.500h4.500V7m0-4.500-6 6M7 3.500H3.500a1 1 0 0 0-1 1v8a1 1 0 0 0 1 1h8a1 1 0 0 0 1-1V9',
  plus: 'M8 3v10M3 8h10',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
