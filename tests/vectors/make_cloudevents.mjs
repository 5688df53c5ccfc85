// Prints requests that the CloudEvents SDK for JavaScript makes, one a line.
import { CloudEvent, HTTP } from 'cloudevents';

const attributes = { id: 'e-1', source: '/acme/1', type: 'order.placed', subject: 'o-1 "x" 100%', time: '2026-01-02T03:04:05.060Z', comacmepart: 'a b' };
const events = {
    JSON: new CloudEvent({ ...attributes, datacontenttype: 'application/json', data: { price: 1.5, name: 'Tee "é"' } }),
    text: new CloudEvent({ ...attributes, datacontenttype: 'text/plain', data: 'Grüße\n' }),
};
for (const [data, event] of Object.entries(events)) {
    for (const mode of ['structured', 'binary']) {
        const { headers, body } = HTTP[mode](event);
        console.log(JSON.stringify({ sdk: 'javascript 10.0.0', mode, data, headers, body: Buffer.from(body).toString('base64') }));
    }
}
