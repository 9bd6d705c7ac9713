import { useAdversary } from '../harness/adversary.ts';
await useAdversary(['connections'], '../integration/copy.test.ts');
