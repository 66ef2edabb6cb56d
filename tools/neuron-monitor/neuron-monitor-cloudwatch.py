#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Puts the documents of neuron-monitor into CloudWatch: neuron-monitor | neuron-monitor-cloudwatch.py --namespace N --region R

Needs boto3 and credentials that may put metric data. The names are those of neuron-monitor-prometheus.py."""
import argparse
import json
import sys

AT_ONCE = 1000  # metrics of one request


def dimensions(**values):
    return [{'Name': k, 'Value': str(v)} for k, v in values.items() if v != '']


def metric(name, value, unit, where):
    return {'MetricName': name, 'Value': float(value), 'Unit': unit, 'Dimensions': where}


def runtime_metrics(data, instance):
    where = dict(instance, runtime_tag=data.get('neuron_runtime_tag', ''))
    report = data.get('report', {})
    for nc, use in report.get('neuroncore_counters', {}).get('neuroncores_in_use', {}).items():
        yield metric('neuroncore_utilization', use['neuroncore_utilization'], 'Percent', dimensions(neuroncore=nc, **where))
    used = report.get('memory_used', {}).get('neuron_runtime_used_bytes', {})
    for place in ('host', 'neuron_device'):
        if place in used:
            yield metric('neuron_runtime_memory_used', used[place], 'Bytes', dimensions(memory_location=place, **where))
    stats = report.get('execution_stats', {})
    for key, n in stats.get('execution_summary', {}).items():
        yield metric('execution_status', n, 'Count', dimensions(status_type=key, **where))
    for key, n in stats.get('error_summary', {}).items():
        yield metric('execution_errors', n, 'Count', dimensions(error_type=key, **where))
    for key, seconds in (stats.get('latency_stats', {}).get('total_latency') or {}).items():
        yield metric('execution_latency', seconds, 'Seconds', dimensions(percentile=key, **where))
    for key, percent in report.get('neuron_runtime_vcpu_usage', {}).get('vcpu_usage', {}).items():
        yield metric('neuron_runtime_vcpu_usage', percent, 'Percent', dimensions(usage_type=key, **where))


def metrics(doc):
    info = doc.get('instance_info', {})
    instance = {k: info.get(k, '') for k in ('instance_id', 'instance_type')}
    for data in doc.get('neuron_runtime_data', []):
        yield from runtime_metrics(data, instance)
    system = doc.get('system_data', {})
    for key, percent in system.get('vcpu_usage', {}).get('average_usage', {}).items():
        yield metric('system_vcpu_usage', percent, 'Percent', dimensions(usage_type=key, **instance))
    for key in ('memory_used_bytes', 'memory_total_bytes'):
        if key in system.get('memory_info', {}):
            yield metric('system_' + key[:-6], system['memory_info'][key], 'Bytes', dimensions(**instance))


def put(client, namespace, doc):
    found = list(metrics(doc))
    for i in range(0, len(found), AT_ONCE):
        client.put_metric_data(Namespace=namespace, MetricData=found[i:i + AT_ONCE])


def main():
    parser = argparse.ArgumentParser(description='Put what neuron-monitor writes to standard input into CloudWatch.')
    parser.add_argument('--version', action='version', version='neuron-monitor-cloudwatch.py (OpenNRT)')
    parser.add_argument('--namespace', required=True, help='of the metrics')
    parser.add_argument('--region', required=True, help='of CloudWatch')
    args = parser.parse_args()
    try:
        import boto3
    except ImportError:
        sys.exit('neuron-monitor-cloudwatch.py: boto3 is not installed')
    client = boto3.client('cloudwatch', region_name=args.region)
    for line in sys.stdin.buffer:
        try:
            put(client, args.namespace, json.loads(line))
        except Exception as e:  # wrong, or CloudWatch does not take it: the next one may be right
            print('neuron-monitor-cloudwatch.py: a document was left out: %r' % e, file=sys.stderr)


if __name__ == '__main__':
    main()
