import { writeFileSync } from 'node:fs';
import { renderConfigurationPage } from '../src/config/help.ts';

writeFileSync(new URL('../docs/configuration.md', import.meta.url), renderConfigurationPage());
