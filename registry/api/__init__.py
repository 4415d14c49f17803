"""The registry over HTTP: reads by serializers, writes by the verbs that pages call."""
